"""A process dies before or after each call to the store; whoever comes next finds the old state or the new one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.cloud.src.s3_store import S3Store
from packages.model_registry.src.aliases import history, promote, rollback
from packages.model_registry.src.garbage import gc
from packages.model_registry.src.layout import listed_labels
from packages.model_registry.src.read import fetch
from packages.model_registry.src.refusals import VersionExists, VersionMissing
from packages.model_registry.src.register import register
from packages.model_registry.src.repair import repair
from packages.model_registry.src.verify import verify
from packages.model_registry.tests.adapters import (
    MODEL,
    adapter_bytes,
    adapter_files,
    manifest_for,
    meta,
)
from packages.model_registry.tests.conftest import new_client, unique_uri
from packages.model_registry.tests.faults import (
    Crash,
    Hook,
    count_calls,
    crash_at,
    crashing,
)

# Calls of one registration with n files: n blobs, the manifest, n copies, n looks at the blobs.
CALLS_OF_4_FILES = 13
CALLS_OF_2_FILES = 7
# On S3 the same calls: each is one request.
RETRIES = ["same", "other", "repair", "next"]

Register = Callable[[ObjectStore, str | None], object]


def registrant(folder: Path, value: float, more: int) -> Register:
    files = adapter_files(folder / str(value), value, more)
    about = meta(f"TrainingFlow/{value:.0f}")
    return lambda store, version: register(store, MODEL, files, about, version)


def contents(store: ObjectStore, cache: Path) -> dict[str, bytes] | None:
    """What a reader gets, all of it verified; None if there is no such version."""
    try:
        folder = fetch(store, MODEL, "v1.0", cache)
    except VersionMissing:
        return None
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }


def check_recovery(store: ObjectStore, retry: str, folder: Path, more: int) -> None:
    """After the crash of run 1: nothing or all of it is visible, and one retry of any kind makes it whole."""
    first, second = adapter_bytes(1.0, more), adapter_bytes(2.0, more)
    visible = contents(store, folder / "cache")
    assert visible in (None, first)
    if retry in ("same", "next"):
        version = "v1.0" if retry == "same" else None
        registrant(folder, 1.0, more)(store, version)
        expected = first
    elif retry == "other":
        try:
            registrant(folder, 2.0, more)(store, "v1.0")
            assert visible is None
            expected = second
        except VersionExists:
            assert visible == first
            expected = first
            repair(store, MODEL)
    else:
        repair(store, MODEL)
        expected = visible
    if not isinstance(store, S3Store):  # there, some 15 requests more per case
        assert verify(store, MODEL) == ()
    labels = [str(label) for label in listed_labels(store, MODEL)]
    assert labels == ([] if expected is None else ["v1.0"])
    for name, data in (expected or {}).items():
        assert store.read(f"{MODEL}/v1.0/{name}") == data


@pytest.mark.parametrize("retry", RETRIES)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, CALLS_OF_4_FILES + 1))
def test_a_crashed_registration_is_recovered(
    tmp_path: Path, call: int, when: str, retry: str
) -> None:
    store = MemoryStore()
    with pytest.raises(Crash):
        registrant(tmp_path, 1.0, 2)(crashing(store, when, call), "v1.0")
    check_recovery(store, retry, tmp_path, more=2)


@pytest.mark.parametrize("retry", RETRIES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crashed_registration_in_a_folder_is_recovered(
    tmp_path: Path, when: str, retry: str
) -> None:
    for call in range(1, CALLS_OF_2_FILES + 1):
        store = FolderStore(tmp_path / f"store-{call}")
        with pytest.raises(Crash):
            registrant(tmp_path, 1.0, 0)(crashing(store, when, call), "v1.0")
        check_recovery(store, retry, tmp_path, more=0)


@pytest.mark.parametrize("retry", ["same", "other"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crashed_registration_in_s3_is_recovered(
    s3_client: Any, tmp_path: Path, when: str, retry: str
) -> None:
    client = new_client()
    for call in range(1, CALLS_OF_2_FILES + 1):
        crash = crash_at(call)

        def hook(model: Any, crash: Hook = crash, **_: object) -> None:
            crash(model.name, "")

        uri = unique_uri()
        client.meta.events.register_first(f"{when}-call.s3", hook)
        with pytest.raises(Crash):
            registrant(tmp_path, 1.0, 0)(S3Store(uri, client), "v1.0")
        client.meta.events.unregister(f"{when}-call.s3", hook)
        check_recovery(S3Store(uri, s3_client), retry, tmp_path, more=0)


def test_the_calls_are_those_that_were_counted(tmp_path: Path) -> None:
    for more, expected in ((2, CALLS_OF_4_FILES), (0, CALLS_OF_2_FILES)):
        work = registrant(tmp_path, 1.0, more)
        found = count_calls(MemoryStore(), lambda store, work=work: work(store, "v1.0"))
        assert found == expected


def with_three_versions() -> MemoryStore:
    store = MemoryStore()
    for number in range(3):
        manifest = manifest_for(adapter_bytes(number), f"v1.{number}", f"F/{number}")
        store.create(f"{MODEL}/v1.{number}/manifest.json", manifest.to_bytes())
    promote(store, MODEL, "v1.0", operation="first")
    promote(store, MODEL, "v1.1", operation="second")
    return store


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 6))
@pytest.mark.parametrize("move", ["promote", "rollback"])
def test_a_crashed_move_is_done_once_by_repeating_it(
    move: str, call: int, when: str
) -> None:
    store = with_three_versions()

    def work(store: ObjectStore) -> object:
        if move == "promote":
            return promote(store, MODEL, "v1.2", operation="third")
        return rollback(store, MODEL, operation="third")

    assert count_calls(with_three_versions(), work) == 5
    with pytest.raises(Crash):
        work(crashing(store, when, call))
    assert len(history(store, MODEL)) in (2, 3)
    work(store)
    work(store)
    assert [entry.version for entry in history(store, MODEL)] == [
        "v1.0",
        "v1.1",
        "v1.2" if move == "promote" else "v1.0",
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crashed_collection_loses_nothing_that_is_named(
    tmp_path: Path, when: str
) -> None:
    registrant(tmp_path, 2.0, 0)(keep := MemoryStore(), None)
    calls = count_calls(garbage_in(keep), lambda store: gc(store, MODEL, dry_run=False))
    assert calls >= 6
    for call in range(1, calls + 1):
        store = garbage_in(keep)
        with pytest.raises(Crash):
            gc(crashing(store, when, call), MODEL, dry_run=False)
        assert verify(store, MODEL) == ()
        gc(store, MODEL, dry_run=False)
        assert gc(store, MODEL).sha256s == ()
        assert contents(store, tmp_path / "cache") == adapter_bytes(2.0)


def garbage_in(store: MemoryStore) -> MemoryStore:
    """A copy of the store, with the blobs of a registration that never reached its manifest."""
    copy = MemoryStore()
    for key, data in store.objects.items():
        copy.create(key, data)
    for sha256, data in (
        # `printf one | sha256sum`, `printf two | sha256sum`
        ("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", b"one"),
        ("3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3", b"two"),
    ):
        copy.create(f"{MODEL}/_blobs/sha256/{sha256}", data)
    return copy
