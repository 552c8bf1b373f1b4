"""Withdraw a version: it stays, pinned readers go on with a warning, no alias leads to it any more."""

from packages.cloud.src.object_store import ObjectExists, ObjectStore
from packages.model_registry.src.layout import (
    listed_aliases,
    parsed_label,
    yank_key,
)
from packages.model_registry.src.read import read_alias, read_manifest, read_yank
from packages.model_registry.src.yank_record import Yank


def yank(
    store: ObjectStore, model: str, version: str, reason: str, by: str = ""
) -> Yank:
    """Record for ever that a version is withdrawn. The first reason stays; yanking again changes nothing.

    Raises:
        VersionMissing: there is no such version.
    """
    parsed_label(version)
    read_manifest(store, model, version)
    record = Yank(schema_version=1, model=model, version=version, reason=reason, by=by)
    try:
        store.create(yank_key(model, version), record.to_bytes())
    except ObjectExists:
        return read_yank(store, model, version) or record
    return record


def aliases_of(store: ObjectStore, model: str, version: str) -> tuple[str, ...]:
    """The aliases that lead to a version now; after a yank they need a rollback or another promotion."""
    return tuple(
        alias
        for alias in listed_aliases(store, model)
        if read_alias(store, model, alias)[0].version == version
    )
