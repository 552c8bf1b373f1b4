"""`repair` puts right what has one good copy left, and writes nothing else."""

import itertools
from pathlib import Path

from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.read import fetch
from packages.model_registry.src.repair import repair
from packages.model_registry.src.verify import verify
from packages.model_registry.tests.adapters import MODEL
from packages.model_registry.tests.test_verify import BLOB, COPY, fill, spoil


def test_one_lost_copy_is_restored(store: ObjectStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    assert repair(store, MODEL) == ()
    for key, data in itertools.product((BLOB, COPY), (None, b"", b"other")):
        spoil(store, key, data)
        assert repair(store, MODEL) == (key,)
    assert verify(store, MODEL) == ()
    assert fetch(store, MODEL, "v1.0", tmp_path / "cache").is_dir()


def test_without_a_good_copy_nothing_is_written(tmp_path: Path) -> None:
    store = fill(MemoryStore(), tmp_path)
    spoil(store, BLOB, b"bad")
    spoil(store, COPY, b"worse")
    assert repair(store, MODEL) == ()
    assert store.read(BLOB) == b"bad"
    assert {finding.key for finding in verify(store, MODEL)} == {BLOB, COPY}
