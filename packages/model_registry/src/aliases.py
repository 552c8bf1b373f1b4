"""Which version an alias such as `production` stands for: moved by compare-and-swap, every move recorded."""

import getpass
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from packages.cloud.src.exit_codes import EX_TEMPFAIL, EX_USAGE, UserError
from packages.cloud.src.object_store import ObjectChanged, ObjectMissing, ObjectStore
from packages.model_registry.src.alias_record import AliasRecord, Move
from packages.model_registry.src.layout import (
    PRODUCTION,
    alias_key,
    checked_name,
    parsed_label,
)
from packages.model_registry.src.read import (
    find_alias,
    read_alias,
    read_manifest,
    read_yank,
)
from packages.model_registry.src.refusals import VersionYanked

TRIES = (
    100  # of moves that met another; each failure means that somebody else got through
)


@dataclass(frozen=True)
class AliasState:
    """Where an alias stands. `former_version` is what it stood for before this call, None if for nothing."""

    model: str
    alias: str
    version: str
    manifest_sha256: str
    generation: int
    former_version: str | None


@dataclass(frozen=True)
class HistoryEntry:
    """One move of an alias. `at` is the time of the store."""

    generation: int
    kind: str
    version: str
    manifest_sha256: str
    by: str
    at: datetime


@dataclass(frozen=True)
class _Request:
    model: str
    alias: str
    operation: str
    by: str


def promote(
    store: ObjectStore,
    model: str,
    version: str,
    alias: str = PRODUCTION,
    *,
    operation: str | None = None,
    by: str | None = None,
) -> AliasState:
    """Let an alias stand for a committed version. Where it does already, nothing is written.

    Args:
        operation: identifies this request; repeating it with the same one changes nothing more.
        by: who asks, for the history; the user's login by default.

    Raises:
        VersionMissing, VersionYanked: this version cannot be promoted.
    """
    parsed_label(version)
    request = _request(model, alias, operation, by)
    for _ in range(TRIES):
        manifest = read_manifest(store, model, version)
        yanked = read_yank(store, model, version)
        if yanked is not None:
            raise VersionYanked(
                f"{model} {version} was yanked: {yanked.reason}. Promote another version (`registry ls {model}`)."
            )
        record, etag = find_alias(store, model, alias) or (None, None)
        if record is not None and record.version == version:
            return _state(record, request, record.version)
        if record is not None and (done := _repeated(record, request)):
            return done
        state = _move(store, request, record, etag, "promote", version, manifest.sha256)
        if state is not None:
            return state
    raise _too_busy(request)


def rollback(
    store: ObjectStore,
    model: str,
    alias: str = PRODUCTION,
    *,
    operation: str | None = None,
    by: str | None = None,
) -> AliasState:
    """Let an alias stand again for the version before; the move is recorded like any other.

    Versions that were yanked meanwhile are passed over. Rolling back twice goes back two versions.

    Raises:
        AliasMissing: nothing was ever promoted.
        UserError: there is no former version to go back to.
    """
    request = _request(model, alias, operation, by)
    for _ in range(TRIES):
        record, etag = read_alias(store, model, alias)
        if done := _repeated(record, request):
            return done
        target = next(
            (
                move
                for move in record.former()
                if move.version != record.version
                and read_yank(store, model, move.version) is None
            ),
            None,
        )
        if target is None:
            raise UserError(
                f"The alias {alias} of {model} stands for {record.version} and has no former version to go back to. "
                f"Promote one instead: `registry promote {model} <version>`.",
                EX_USAGE,
            )
        manifest = read_manifest(store, model, target.version)
        state = _move(
            store, request, record, etag, "rollback", target.version, manifest.sha256
        )
        if state is not None:
            return state
    raise _too_busy(request)


def history(
    store: ObjectStore, model: str, alias: str = PRODUCTION
) -> tuple[HistoryEntry, ...]:
    """Every move of an alias, oldest first, with the time the store gave it. Raises AliasMissing."""
    for _ in range(TRIES):
        record, etag = read_alias(store, model, alias)
        stored = store.stat(alias_key(model, alias))
        if stored.etag == etag:
            return tuple(
                HistoryEntry(
                    move.generation,
                    move.kind,
                    move.version,
                    move.manifest_sha256,
                    move.by,
                    datetime.fromisoformat(move.at) if move.at else stored.modified_at,
                )
                for move in record.history
            )
    raise _too_busy(_Request(model, alias, "", ""))


def _move(
    store: ObjectStore,
    request: _Request,
    record: AliasRecord | None,
    etag: str | None,
    kind: Literal["promote", "rollback"],
    version: str,
    manifest_sha256: str,
) -> AliasState | None:
    """Write the next generation. None if somebody else did first: read again and decide again."""
    key = alias_key(request.model, request.alias)
    move = Move(
        generation=record.generation + 1 if record else 1,
        kind=kind,
        version=version,
        manifest_sha256=manifest_sha256,
        operation=request.operation,
        by=request.by,
        at=None,
    )
    try:
        if record is None:
            moved = AliasRecord(
                schema_version=1,
                model=request.model,
                alias=request.alias,
                history=(move,),
            )
        else:
            stored = store.stat(key)
            if stored.etag != etag:
                return None
            moved = record.moved(move, stored.modified_at)
        store.replace(key, moved.to_bytes(), etag)
    except (ObjectChanged, ObjectMissing):
        return None
    return _state(moved, request, record.version if record else None)


def _repeated(record: AliasRecord, request: _Request) -> AliasState | None:
    """The present state, if this very request was carried out before."""
    for number, move in enumerate(record.history):
        if move.operation == request.operation:
            former = record.history[number - 1].version if number else None
            return _state(record, request, former)
    return None


def _state(record: AliasRecord, request: _Request, former: str | None) -> AliasState:
    return AliasState(
        request.model,
        request.alias,
        record.version,
        record.manifest_sha256,
        record.generation,
        former,
    )


def _request(model: str, alias: str, operation: str | None, by: str | None) -> _Request:
    checked_name(model)
    checked_name(alias, "alias")
    return _Request(model, alias, operation or uuid.uuid4().hex, by or _login())


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without a name
        return "unknown"


def _too_busy(request: _Request) -> UserError:
    return UserError(
        f"The alias {request.alias} of {request.model} was changed by others {TRIES} times in a row. Nothing was "
        "written: run the same command again.",
        EX_TEMPFAIL,
    )
