"""Resolving and fetching on a folder, on S3 (moto) and on the fake: verified or not at all."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from packages.cloud.src.exit_codes import EX_DATAERR, EX_NOINPUT, UserError
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.canonical_json import canonical_json
from packages.model_registry.src.layout import blob_key
from packages.model_registry.src.read import fetch, resolve
from packages.model_registry.src.refusals import (
    AliasMissing,
    LoadRefused,
    ManifestRefused,
    RegistryDamaged,
    VersionMissing,
    VersionYanked,
)
from packages.model_registry.src.register import register
from packages.model_registry.src.yank import yank
from packages.model_registry.tests.adapters import (
    CONFIG,
    MODEL,
    WEIGHTS,
    adapter_bytes,
    adapter_files,
    meta,
)

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b" ",
    "first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "middle bit": lambda data: flipped(data, len(data) // 2),
    "last bit": lambda data: flipped(data, len(data) - 1),
}


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def overwrite(store: ObjectStore, key: str, change: Callable[[bytes], bytes]) -> None:
    data, etag = store.read_with_etag(key)
    store.replace(key, change(data), etag)


def registered(store: ObjectStore, folder: Path, count: int = 1) -> None:
    for number in range(1, count + 1):
        files = adapter_files(folder / str(number), float(number), more=2)
        register(store, MODEL, files, meta(f"TrainingFlow/{number}"))


def test_a_label_and_an_alias_lead_to_the_same_files(
    store: ObjectStore, tmp_path: Path
) -> None:
    registered(store, tmp_path, 2)
    promote(store, MODEL, "v1.1")
    by_label = resolve(store, MODEL, "v1.1")
    by_alias = resolve(store, MODEL, "production")
    assert by_alias.version == by_label.version == "v1.1"
    assert by_alias.manifest == by_label.manifest
    assert by_alias.asked == "production"
    folder = fetch(store, MODEL, "production", tmp_path / "cache")
    assert folder == tmp_path / "cache" / MODEL / by_label.manifest_sha256
    assert {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    } == adapter_bytes(2.0, more=2)
    stored = (folder / "manifest.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == by_label.manifest_sha256


def test_a_second_fetch_reads_no_blob(tmp_path: Path) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    first = fetch(store, MODEL, "v1.0", tmp_path / "cache")
    for key in [key for key in store.objects if "_blobs" in key]:
        del store.objects[key]
    assert fetch(store, MODEL, "v1.0", tmp_path / "cache") == first


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", sorted(adapter_bytes(more=2)))
def test_a_damaged_blob_is_refused_by_name_and_hash(
    name: str, damage: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    sha256 = hashlib.sha256(adapter_bytes(more=2)[name]).hexdigest()
    overwrite(store, blob_key(MODEL, sha256), DAMAGE[damage])
    with pytest.raises(RegistryDamaged) as refusal:
        fetch(store, MODEL, "v1.0", tmp_path / "cache")
    assert refusal.value.exit_code == EX_DATAERR
    assert name in refusal.value.message
    assert sha256 in refusal.value.message
    assert list((tmp_path / "cache" / MODEL).iterdir()) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_is_refused(damage: str, tmp_path: Path) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0")
    overwrite(store, f"{MODEL}/v1.0/manifest.json", DAMAGE[damage])
    for name in ("v1.0", "production"):
        with pytest.raises(ManifestRefused):
            fetch(store, MODEL, name, tmp_path / "cache")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_alias_is_refused_and_labels_go_on(
    damage: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0")
    overwrite(store, f"{MODEL}/_aliases/production.json", DAMAGE[damage])
    with pytest.raises(RegistryDamaged, match="alias production"):
        resolve(store, MODEL, "production")
    assert resolve(store, MODEL, "v1.0").version == "v1.0"


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_damaged_cache_is_fetched_again(
    name: str, damage: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    folder = fetch(store, MODEL, "v1.0", tmp_path / "cache")
    path = folder / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert fetch(store, MODEL, "v1.0", tmp_path / "cache") == folder
    assert path.read_bytes() == adapter_bytes(1.0)[name]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_stranger_in_the_cache_is_removed(tmp_path: Path) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    folder = fetch(store, MODEL, "v1.0", tmp_path / "cache")
    (folder / "evil.py").write_bytes(b"")
    fetch(store, MODEL, "v1.0", tmp_path / "cache")
    assert not (folder / "evil.py").exists()


def test_plain_copies_are_not_trusted(store: ObjectStore, tmp_path: Path) -> None:
    registered(store, tmp_path)
    overwrite(store, f"{MODEL}/v1.0/{WEIGHTS}", lambda data: b"evil")
    folder = fetch(store, MODEL, "v1.0", tmp_path / "cache")
    assert (folder / WEIGHTS).read_bytes() == adapter_bytes(1.0)[WEIGHTS]


def test_a_missing_blob_is_taken_from_the_plain_copy_if_its_hash_is_right(
    store: ObjectStore, tmp_path: Path
) -> None:
    registered(store, tmp_path)
    sha256 = hashlib.sha256(adapter_bytes(1.0)[WEIGHTS]).hexdigest()
    store.delete(blob_key(MODEL, sha256))
    folder = fetch(store, MODEL, "v1.0", tmp_path / "cache")
    assert (folder / WEIGHTS).read_bytes() == adapter_bytes(1.0)[WEIGHTS]
    overwrite(store, f"{MODEL}/v1.0/{WEIGHTS}", lambda data: b"evil")
    with pytest.raises(RegistryDamaged, match="is missing and .* has SHA-256"):
        fetch(store, MODEL, "v1.0", tmp_path / "other cache")


def test_a_hostile_version_in_the_store_is_not_handed_out(tmp_path: Path) -> None:
    # Somebody with write access commits a consistent manifest over a harmful file.
    store = MemoryStore()
    registered(store, tmp_path)
    tree = json.loads(store.read(f"{MODEL}/v1.0/manifest.json"))
    evil = json.dumps({"peft_type": "LORA", "auto_mapping": {"a": "os"}}).encode()
    sha256 = hashlib.sha256(evil).hexdigest()
    for row in tree["files"]:
        if row["path"] == CONFIG:
            row |= {"sha256": sha256, "size_bytes": len(evil)}
    tree["version"] = "v6.6"
    store.create(f"{MODEL}/v6.6/manifest.json", canonical_json(tree))
    store.create(blob_key(MODEL, sha256), evil)
    with pytest.raises(LoadRefused, match="auto_mapping"):
        fetch(store, MODEL, "v6.6", tmp_path / "cache")


def test_a_missing_version_names_those_there_are(
    store: ObjectStore, tmp_path: Path
) -> None:
    registered(store, tmp_path, 2)
    with pytest.raises(VersionMissing, match="Its versions: v1.0, v1.1") as refusal:
        resolve(store, MODEL, "v1.2")
    assert refusal.value.exit_code == EX_NOINPUT
    with pytest.raises(VersionMissing, match="Its versions: none"):
        resolve(store, "other", "v1.0")


def test_a_missing_alias_names_those_there_are(
    store: ObjectStore, tmp_path: Path
) -> None:
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0", "staging")
    with pytest.raises(AliasMissing, match="Its aliases: staging") as refusal:
        resolve(store, MODEL, "production")
    assert refusal.value.exit_code == EX_NOINPUT
    with pytest.raises(UserError, match="is no name for"):
        resolve(store, MODEL, "../production")


def test_an_alias_that_leads_nowhere_says_keep_what_is_loaded(tmp_path: Path) -> None:
    # I10.
    store = MemoryStore()
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0")
    del store.objects[f"{MODEL}/v1.0/manifest.json"]
    with pytest.raises(RegistryDamaged, match="Keep what is loaded"):
        resolve(store, MODEL, "production")


def test_an_alias_knows_the_manifest_it_was_set_to(tmp_path: Path) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0")
    tree = json.loads(store.objects[f"{MODEL}/v1.0/manifest.json"])
    tree["lineage"]["metrics"]["perplexity"] = 1.0
    store.objects[f"{MODEL}/v1.0/manifest.json"] = canonical_json(tree)
    with pytest.raises(RegistryDamaged, match="was set to a manifest"):
        resolve(store, MODEL, "production")


def test_a_yanked_version_is_found_by_label_only(
    store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # I11.
    registered(store, tmp_path)
    promote(store, MODEL, "v1.0")
    yank(store, MODEL, "v1.0", "answers in Latin")
    with caplog.at_level(logging.WARNING):
        found = resolve(store, MODEL, "v1.0")
    assert found.yanked is not None
    assert found.yanked.reason == "answers in Latin"
    assert "was yanked: answers in Latin" in caplog.text
    with pytest.raises(VersionYanked, match="answers in Latin"):
        fetch(store, MODEL, "production", tmp_path / "cache")
    assert fetch(store, MODEL, "v1.0", tmp_path / "cache").is_dir()


def test_a_damaged_yank_record_still_withdraws(tmp_path: Path) -> None:
    store = MemoryStore()
    registered(store, tmp_path)
    store.create(f"{MODEL}/v1.0/yanked.json", b"{")
    with pytest.raises(RegistryDamaged, match="counts as withdrawn"):
        resolve(store, MODEL, "v1.0")
