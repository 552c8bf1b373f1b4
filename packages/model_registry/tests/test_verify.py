"""Everything that is not as it was committed is named."""

import hashlib
import itertools
from pathlib import Path

import pytest

from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.refusals import VersionMissing
from packages.model_registry.src.register import register
from packages.model_registry.src.repair import repair
from packages.model_registry.src.verify import verify
from packages.model_registry.tests.adapters import (
    CONFIG,
    MODEL,
    WEIGHTS,
    adapter_bytes,
    adapter_files,
    meta,
)

BLOB = (
    f"{MODEL}/_blobs/sha256/{hashlib.sha256(adapter_bytes(1.0)[WEIGHTS]).hexdigest()}"
)
COPY = f"{MODEL}/v1.0/{WEIGHTS}"


def fill(store: ObjectStore, folder: Path) -> ObjectStore:
    for number in (1, 2):
        files = adapter_files(folder / str(number), float(number))
        register(store, MODEL, files, meta(f"F/{number}"))
    promote(store, MODEL, "v1.0")
    return store


def spoil(store: ObjectStore, key: str, data: bytes | None) -> None:
    store.delete(key)
    if data is not None:
        store.create(key, data)


def test_one_lost_copy_is_named(store: ObjectStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    assert verify(store, MODEL) == ()
    for key, data in itertools.product((BLOB, COPY), (None, b"", b"other")):
        good = store.read(key)
        spoil(store, key, data)
        findings = verify(store, MODEL, "v1.0")
        assert [(f.key, f.repairable) for f in findings] == [(key, True)]
        spoil(store, key, good)
    assert verify(store, MODEL) == ()


@pytest.mark.parametrize(
    ("key", "data", "problem"),
    [
        (f"{MODEL}/v1.0/manifest.json", b"{}", "refused"),
        (f"{MODEL}/v1.0/evil.py", b"", "not listed in the manifest"),
        (f"{MODEL}/v1.0/yanked.json", b"{", "damaged"),
        (f"{MODEL}/v7.0/{WEIGHTS}", b"", "no manifest"),
        (f"{MODEL}/_aliases/production.json", b"{}", "damaged"),
        (f"{MODEL}/_blobs/sha256/{'0' * 64}", b"x", "no version uses it"),
    ],
)
def test_everything_else_that_is_wrong_is_named(
    tmp_path: Path, key: str, data: bytes, problem: str
) -> None:
    store = fill(MemoryStore(), tmp_path)
    spoil(store, key, data)
    findings = {finding.key: finding for finding in verify(store, MODEL)}
    assert problem in findings[key].problem
    assert not findings[key].repairable


def test_an_alias_to_nothing_or_to_another_manifest_is_named(tmp_path: Path) -> None:
    store = MemoryStore()
    fill(store, tmp_path)
    alias = f"{MODEL}/_aliases/production.json"
    first = store.objects[f"{MODEL}/v1.0/manifest.json"]
    other = first.replace(b'"F/1"', b'"F/9"')
    store.objects[f"{MODEL}/v1.0/manifest.json"] = other
    assert [f.key for f in verify(store, MODEL)] == [alias]
    del store.objects[f"{MODEL}/v1.0/manifest.json"]
    problems = {f.key: f.problem for f in verify(store, MODEL)}
    assert "leads to v1.0, which is missing" in problems[alias]


def test_a_damaged_manifest_stops_neither_verify_nor_repair(tmp_path: Path) -> None:
    store = fill(MemoryStore(), tmp_path)
    spoil(store, f"{MODEL}/v1.0/manifest.json", b"{}")
    spoil(store, f"{MODEL}/v1.1/{CONFIG}", None)
    assert {finding.key for finding in verify(store, MODEL)} == {
        f"{MODEL}/v1.0/manifest.json",
        f"{MODEL}/v1.1/{CONFIG}",
        f"{MODEL}/_aliases/production.json",
    }
    assert repair(store, MODEL) == (f"{MODEL}/v1.1/{CONFIG}",)


def test_a_version_that_is_not_there_is_an_error() -> None:
    with pytest.raises(VersionMissing):
        verify(MemoryStore(), MODEL, "v1.0")


def test_large_objects_are_hashed_from_disk(tmp_path: Path) -> None:
    store = MemoryStore()
    readme = b"x" * (2**20 + 1)
    files = adapter_files(tmp_path, README__md=readme)
    register(store, MODEL, files, meta())
    assert verify(store, MODEL) == ()
