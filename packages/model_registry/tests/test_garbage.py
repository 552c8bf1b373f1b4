"""Only blobs that nothing names are removed, and only when asked to."""

from pathlib import Path

import pytest

from packages.cloud.src.object_store import ObjectStore, put_blob
from packages.model_registry.src.garbage import gc
from packages.model_registry.src.read import fetch
from packages.model_registry.src.refusals import ManifestRefused
from packages.model_registry.src.register import register
from packages.model_registry.src.verify import verify
from packages.model_registry.tests.adapters import MODEL, adapter_files, meta


def test_what_nothing_names_is_found_and_removed(
    store: ObjectStore, tmp_path: Path
) -> None:
    register(store, MODEL, adapter_files(tmp_path / "a"), meta())
    orphan = put_blob(store, b"left by a crash", f"{MODEL}/_blobs/sha256")
    found = gc(store, MODEL)
    assert (found.sha256s, found.size_bytes, found.removed) == ((orphan,), 15, ())
    assert store.exists(f"{MODEL}/_blobs/sha256/{orphan}")
    assert gc(store, MODEL, dry_run=False).removed == (orphan,)
    assert gc(store, MODEL, dry_run=False).sha256s == ()
    assert verify(store, MODEL) == ()
    assert fetch(store, MODEL, "v1.0", tmp_path / "cache").is_dir()


def test_nothing_is_removed_while_a_manifest_cannot_be_read(store: ObjectStore) -> None:
    orphan = put_blob(store, b"left by a crash", f"{MODEL}/_blobs/sha256")
    store.create(f"{MODEL}/v1.0/manifest.json", b"{}")
    with pytest.raises(ManifestRefused):
        gc(store, MODEL, dry_run=False)
    assert store.exists(f"{MODEL}/_blobs/sha256/{orphan}")
