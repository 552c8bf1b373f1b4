"""A version in a folder of the user's choice: whole or not at all."""

from pathlib import Path

import pytest

from packages.cloud.src.exit_codes import EX_CANTCREAT, UserError
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.pull import pull
from packages.model_registry.src.refusals import RegistryDamaged
from packages.model_registry.src.register import register
from packages.model_registry.tests.adapters import (
    MODEL,
    adapter_bytes,
    adapter_files,
    meta,
)


def test_a_pulled_version_is_the_registered_one(
    store: ObjectStore, tmp_path: Path
) -> None:
    register(store, MODEL, adapter_files(tmp_path / "a", more=2), meta())
    promote(store, MODEL, "v1.0")
    (tmp_path / "empty").mkdir()
    for destination in (tmp_path / "new" / "deep", tmp_path / "empty"):
        assert pull(store, MODEL, "production", destination) == destination
        found = {path.name: path.read_bytes() for path in destination.iterdir()}
        assert found.pop("manifest.json") == store.read(f"{MODEL}/v1.0/manifest.json")
        assert found == adapter_bytes(more=2)
        rests = [p.name for p in destination.parent.iterdir() if p.name[0] == "."]
        assert rests == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    register(store, MODEL, adapter_files(tmp_path / "a"), meta())
    for destination in (tmp_path / "a", tmp_path / "a" / "adapter_config.json"):
        with pytest.raises(UserError, match="already exists") as refusal:
            pull(store, MODEL, "v1.0", destination)
        assert refusal.value.exit_code == EX_CANTCREAT
    with pytest.raises(UserError, match="is a file") as refusal:
        pull(store, MODEL, "v1.0", tmp_path / "a" / "adapter_config.json" / "x")
    assert refusal.value.exit_code == EX_CANTCREAT


def test_a_damaged_version_leaves_no_folder(tmp_path: Path) -> None:
    store = MemoryStore()
    register(store, MODEL, adapter_files(tmp_path / "a"), meta())
    for key in [key for key in store.objects if "_blobs" in key]:
        store.objects[key] = b"damaged"
    with pytest.raises(RegistryDamaged):
        pull(store, MODEL, "v1.0", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
