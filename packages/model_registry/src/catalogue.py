"""What is registered: rows for a table, one version in full, two versions compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.layout import (
    NAME,
    listed_aliases,
    listed_labels,
    manifest_key,
    version_folder,
)
from packages.model_registry.src.manifest import Manifest
from packages.model_registry.src.read import (
    read_alias,
    read_manifest,
    read_yank,
    resolve,
)
from packages.model_registry.src.yank_record import Yank

MISSING = "(none)"


@dataclass(frozen=True)
class VersionDetails:
    """One version. `created_at` is the time of the store; the manifest holds none."""

    model: str
    version: str
    uri: str
    created_at: datetime
    aliases: tuple[str, ...]
    yanked: Yank | None
    manifest: Manifest
    manifest_sha256: str


@dataclass(frozen=True)
class Difference:
    """One leaf of the two manifests that is not the same; `(none)` where one has no such leaf."""

    field: str
    left: str
    right: str


def list_models(store: ObjectStore) -> tuple[str, ...]:
    """Names of all models with a version, in order."""
    folders = {row.key.partition("/")[0] for row in store.list("")}
    named = sorted(name for name in folders if NAME.fullmatch(name))
    return tuple(name for name in named if any(listed_labels(store, name)))


def list_versions(store: ObjectStore, model: str) -> tuple[VersionDetails, ...]:
    """Every version of a model, oldest label first. Raises ManifestRefused if one cannot be read."""
    leading = _aliases_by_version(store, model)
    return tuple(
        _details(store, read_manifest(store, model, str(label)), leading)
        for label in sorted(listed_labels(store, model))
    )


def show(store: ObjectStore, model: str, name: str) -> VersionDetails:
    """One version by label or alias. Raises what `resolve` raises."""
    manifest = resolve(store, model, name).manifest
    return _details(store, manifest, _aliases_by_version(store, model))


def diff(
    store: ObjectStore, model: str, left: str, right: str
) -> tuple[Difference, ...]:
    """Where the manifests of two versions differ: files, configuration, data, metrics, verdict."""
    leaves = [
        _leaves(resolve(store, model, name).manifest.model_dump(mode="json"))
        for name in (left, right)
    ]
    return tuple(
        Difference(field, leaves[0].get(field, MISSING), leaves[1].get(field, MISSING))
        for field in sorted(leaves[0].keys() | leaves[1].keys())
        if leaves[0].get(field, MISSING) != leaves[1].get(field, MISSING)
    )


def table_rows(
    versions: Sequence[VersionDetails], metrics: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Versions as rows of text with the same columns, newest first; ready for a table or for JSON.

    Args:
        metrics: names in the manifest to show as columns; the first three by name if none are given.
    """
    names = (
        list(metrics)
        or sorted({name for row in versions for name in row.manifest.lineage.metrics})[
            :3
        ]
    )
    return [_row(version, names) for version in reversed(versions)]


def _row(details: VersionDetails, metrics: Sequence[str]) -> dict[str, str]:
    lineage = details.manifest.lineage
    row = {
        "version": details.version,
        "aliases": ", ".join(details.aliases),
        "state": "yanked" if details.yanked else "",
        "created": details.created_at.strftime("%Y-%m-%d %H:%M"),
        "run": lineage.run,
        "base model": f"{lineage.base_model.name}@{lineage.base_model.revision[:7]}",
        "data": lineage.data_sha256[:7],
        "size": f"{details.manifest.size_bytes / 2**20:.1f} MiB",
    }
    for name in metrics:
        value = lineage.metrics.get(name)
        row[name] = "" if value is None else f"{value:.4g}"
    return row


def _details(
    store: ObjectStore, manifest: Manifest, leading: dict[str, tuple[str, ...]]
) -> VersionDetails:
    model, version = manifest.model, manifest.version
    return VersionDetails(
        model,
        version,
        f"{store.uri}/{version_folder(model, version)}",
        store.stat(manifest_key(model, version)).modified_at,
        leading.get(version, ()),
        read_yank(store, model, version),
        manifest,
        manifest.sha256,
    )


def _aliases_by_version(store: ObjectStore, model: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for alias in listed_aliases(store, model):
        version = read_alias(store, model, alias)[0].version
        found[version] = (*found.get(version, ()), alias)
    return found


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    """Dotted path of each leaf -> its text. Files go by their name, other lists by position."""
    if isinstance(value, dict) and value:
        inner = {f"{path}.{key}".lstrip("."): item for key, item in value.items()}
    elif isinstance(value, list) and value:
        inner = {
            f"{path}[{item['path'] if path == 'files' else number}]": item
            for number, item in enumerate(value)
        }
    else:
        return {path: str(value)}
    found: dict[str, str] = {}
    for name, item in inner.items():
        found |= _leaves(item, name)
    return found
