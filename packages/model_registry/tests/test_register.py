"""Registering on a folder, on S3 (moto) and on the fake: labels, lineage, what is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from packages.cloud.src.exit_codes import EX_CANTCREAT, EX_USAGE, UserError
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.layout import Label
from packages.model_registry.src.manifest import lineage_from
from packages.model_registry.src.read import read_manifest
from packages.model_registry.src.refusals import (
    LoadRefused,
    ManifestRefused,
    RegistryDamaged,
    VersionExists,
)
from packages.model_registry.src.register import next_label, register
from packages.model_registry.src.verify import verify
from packages.model_registry.tests.adapters import (
    BASE,
    CONFIG,
    MODEL,
    WEIGHTS,
    adapter_bytes,
    adapter_files,
    manifest_for,
    meta,
)


def test_a_version_is_laid_out_as_promised(store: ObjectStore, tmp_path: Path) -> None:
    files = adapter_files(tmp_path / "a", more=2)
    registered = register(store, MODEL, files, meta())
    assert registered.version == "v1.0"
    assert registered.uri == f"{store.uri}/{MODEL}/v1.0"
    hashes = {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items()}
    assert sorted(row.key for row in store.list("")) == sorted(
        [
            *(f"{MODEL}/_blobs/sha256/{sha256}" for sha256 in hashes.values()),
            *(f"{MODEL}/v1.0/{name}" for name in files),
            f"{MODEL}/v1.0/manifest.json",
        ]
    )
    for name, path in files.items():
        assert store.read(f"{MODEL}/v1.0/{name}") == path.read_bytes()
    manifest = store.read(f"{MODEL}/v1.0/manifest.json")
    assert hashlib.sha256(manifest).hexdigest() == registered.manifest_sha256
    assert json.loads(manifest)["lineage"]["run"] == "TrainingFlow/1"
    assert verify(store, MODEL) == ()


def test_the_same_run_twice_is_one_version(store: ObjectStore, tmp_path: Path) -> None:
    files = adapter_files(tmp_path / "a")
    first = register(store, MODEL, files, meta())
    assert register(store, MODEL, files, meta()) == first
    assert register(store, MODEL, files, meta(), version="v1.0") == first
    register(store, MODEL, files, meta("TrainingFlow/2"))
    assert register(store, MODEL, files, meta()) == first
    assert len([r for r in store.list("") if r.key.endswith("manifest.json")]) == 2


def test_labels_count_runs_and_bases(store: ObjectStore, tmp_path: Path) -> None:
    files = adapter_files(tmp_path / "a")
    labels = [
        register(store, MODEL, files, about).version
        for about in (
            meta("F/1"),
            meta("F/2"),
            meta("F/3", tokenizer_sha256="9" * 64),
            meta("F/4", template_sha256="9" * 64),
            meta("F/5", tokenizer_sha256="9" * 64),
            meta("F/6"),
        )
    ]
    assert labels == ["v1.0", "v1.1", "v2.0", "v3.0", "v2.1", "v1.2"]


def test_another_base_model_is_a_new_major(tmp_path: Path) -> None:
    store = MemoryStore()
    register(store, MODEL, adapter_files(tmp_path / "a"), meta())
    other = {"name": BASE, "revision": "f" * 40}
    config = json.dumps(
        json.loads(adapter_bytes()[CONFIG]) | {"revision": "f" * 40}
    ).encode()
    files = adapter_files(tmp_path / "b", adapter_config__json=config)
    assert register(store, MODEL, files, meta(base_model=other)).version == "v2.0"


def test_the_next_label_worked_by_hand() -> None:
    ours = manifest_for(adapter_bytes())
    lineage = ours.lineage
    assert next_label({}, lineage) == Label(1, 0)
    assert next_label({Label(1, 0): ours}, lineage) == Label(1, 1)
    assert next_label({Label(1, 9): ours}, lineage) == Label(1, 10)
    assert next_label({Label(1, 0): ours, Label(3, 4): ours}, lineage) == Label(3, 5)
    # A manifest that cannot be read takes its label, and belongs to nobody's base.
    assert next_label({Label(1, 0): None}, lineage) == Label(2, 0)
    assert next_label({Label(1, 0): ours, Label(1, 1): None}, lineage) == Label(1, 2)


def test_a_taken_label_names_the_run_that_took_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    first = adapter_files(tmp_path / "a", 1.0)
    register(store, MODEL, first, meta("TrainingFlow/17"), version="v1.0")
    other = adapter_files(tmp_path / "b", 2.0)
    with pytest.raises(
        VersionExists, match="written by run TrainingFlow/17"
    ) as refusal:
        register(store, MODEL, other, meta("TrainingFlow/18"), version="v1.0")
    assert refusal.value.exit_code == EX_CANTCREAT
    assert store.read(f"{MODEL}/v1.0/{WEIGHTS}") == first[WEIGHTS].read_bytes()
    assert verify(store, MODEL) == ()


def test_a_label_is_not_free_again_after_its_files_were_deleted(
    store: ObjectStore, tmp_path: Path
) -> None:
    register(store, MODEL, adapter_files(tmp_path / "a", 1.0), meta("F/1"))
    for name in (WEIGHTS, CONFIG):
        store.delete(f"{MODEL}/v1.0/{name}")
    with pytest.raises(VersionExists):
        register(store, MODEL, adapter_files(tmp_path / "b", 2.0), meta("F/2"), "v1.0")


@pytest.mark.parametrize("field", sorted(meta()))
def test_a_lineage_without_one_field_is_refused(field: str, tmp_path: Path) -> None:
    store, incomplete = MemoryStore(), meta()
    del incomplete[field]
    with pytest.raises(ManifestRefused, match=f"lineage.{field}: Field required"):
        register(store, MODEL, adapter_files(tmp_path), incomplete)
    assert store.objects == {}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("git_sha", "main", "git_sha"),
        ("run", "no pathspec", "run"),
        ("data_sha256", "D" * 64, "data_sha256"),
        ("base_model", {"name": BASE, "revision": "main"}, "base_model.revision"),
        ("base_model", {"name": BASE}, "base_model.revision: Field required"),
        ("metrics", {}, "metrics"),
        ("metrics", {"perplexity": "8"}, "metrics.perplexity"),
        ("metrics", {"perplexity": float("nan")}, "not JSON compliant"),
        ("gate", {}, "gate"),
        ("config_sha256", "0" * 64, "json_sha256"),
        ("config", {"a": 1}, "json_sha256"),
        ("image_digest", "latest", "image_digest"),
        ("seeds", {"training": 1.5}, "seeds.training"),
        ("started_at", "2026-11-21", "Extra inputs are not permitted"),
        ("config", {"a": Path("/x")}, "not JSON serializable"),
    ],
)
def test_a_wrong_field_is_named(
    field: str, value: object, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ManifestRefused, match=reason):
        lineage_from(meta() | {field: value})


def test_every_problem_of_a_lineage_is_listed_at_once() -> None:
    with pytest.raises(ManifestRefused) as refusal:
        lineage_from({"run": "F/1"})
    assert refusal.value.message.count("Field required") == len(meta()) - 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (WEIGHTS, b"", "no safetensors file"),
        (CONFIG, b"{}", "peft_type: Field required"),
        ("adapter_model.bin", b"PK", "not on the list of allowed names"),
        ("../escape.json", b"{}", "leads out of its folder"),
        ("manifest.json", b"{}", "not on the list of allowed names"),
        ("yanked.json", b"{}", "not on the list of allowed names"),
    ],
)
def test_files_that_could_not_be_loaded_are_not_registered(
    name: str, data: bytes, reason: str, tmp_path: Path
) -> None:
    files = adapter_files(tmp_path / "a")
    (tmp_path / "other").write_bytes(data)
    store = MemoryStore()
    with pytest.raises(LoadRefused, match=reason):
        register(store, MODEL, files | {name: tmp_path / "other"}, meta())
    assert store.objects == {}


def test_a_missing_or_special_file_is_named(tmp_path: Path) -> None:
    files = adapter_files(tmp_path / "a")
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(LoadRefused, match="is no file"):
            register(MemoryStore(), MODEL, files | {"README.md": path}, meta())
    del files[CONFIG]
    with pytest.raises(LoadRefused, match="'adapter_config.json' is missing"):
        register(MemoryStore(), MODEL, files, meta())


def test_a_damaged_blob_is_reported_not_built_upon(
    store: ObjectStore, tmp_path: Path
) -> None:
    files = adapter_files(tmp_path / "a")
    sha256 = hashlib.sha256(files[WEIGHTS].read_bytes()).hexdigest()
    store.create(f"{MODEL}/_blobs/sha256/{sha256}", b"damaged")
    with pytest.raises(RegistryDamaged, match=sha256):
        register(store, MODEL, files, meta())
    assert not store.exists(f"{MODEL}/v1.0/manifest.json")


def test_a_wrong_plain_copy_is_made_right(store: ObjectStore, tmp_path: Path) -> None:
    files = adapter_files(tmp_path / "a")
    store.create(f"{MODEL}/v1.0/{WEIGHTS}", b"left by somebody")
    register(store, MODEL, files, meta())
    assert verify(store, MODEL) == ()


def test_a_damaged_manifest_does_not_stop_the_next_version(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.create(f"{MODEL}/v1.0/manifest.json", b"{}")
    registered = register(store, MODEL, adapter_files(tmp_path), meta())
    assert registered.version == "v2.0"


@pytest.mark.parametrize("name", ["", "Qwen", "a/b", "..", "-a", "a" * 65, "v1.0", "ä"])
def test_a_model_needs_a_name_that_is_safe_everywhere(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is no name for a model") as refusal:
        register(MemoryStore(), name, adapter_files(tmp_path), meta())
    assert refusal.value.exit_code == EX_USAGE


@pytest.mark.parametrize(
    "version", ["", "1.0", "v1", "v01.0", "v1.0.0", "v1.-1", "latest", "v1.0\n"]
)
def test_a_version_has_one_way_to_be_written(version: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no version") as refusal:
        register(MemoryStore(), MODEL, adapter_files(tmp_path), meta(), version)
    assert refusal.value.exit_code == EX_USAGE


def test_no_clock_reaches_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client's clock one hour and ten years off, backwards too: nothing changes.
    hashes = set()
    for offset in (0, 3600, -3600, 315_360_000, -315_360_000, 1):
        monkeypatch.setattr("time.time", lambda offset=offset: 1.8e9 + offset)
        store = MemoryStore()
        files = adapter_files(tmp_path / str(offset))
        hashes.add(register(store, MODEL, files, meta()).manifest_sha256)
        assert read_manifest(store, MODEL, "v1.0").lineage.run == "TrainingFlow/1"
    assert len(hashes) == 1
