"""A version is withdrawn once; the first reason stays."""

import pytest

from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.read import read_yank
from packages.model_registry.src.refusals import VersionMissing
from packages.model_registry.src.yank import yank
from packages.model_registry.tests.adapters import MODEL, adapter_bytes, manifest_for


def test_the_first_reason_stays(store: ObjectStore) -> None:
    manifest = manifest_for(adapter_bytes())
    store.create(f"{MODEL}/v1.0/manifest.json", manifest.to_bytes())
    assert read_yank(store, MODEL, "v1.0") is None
    first = yank(store, MODEL, "v1.0", "leaks training data", by="ada")
    assert yank(store, MODEL, "v1.0", "another reason", by="bob") == first
    found = read_yank(store, MODEL, "v1.0")
    assert found is not None
    assert (found.reason, found.by) == ("leaks training data", "ada")


def test_nothing_can_be_withdrawn_that_was_not_registered() -> None:
    store = MemoryStore()
    with pytest.raises(VersionMissing):
        yank(store, MODEL, "v1.0", "why")
    assert store.objects == {}
