"""Remove blobs that no version names, left by registrations that crashed or lost their label.

Without a clock or a lock, a registration may commit a manifest that names a blob just being removed. Three
habits together keep its bytes: the registrant looks for its blobs again after its commit and stores them anew; the
collector keeps what it removes until it has read the manifests again, and puts back what one names; readers fall back to
the plain copy, by hash. Only a crash of both inside that window leaves a gap, and repeating the registration fills it.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from packages.cloud.src.object_store import ObjectExists, ObjectMissing, ObjectStore
from packages.model_registry.src.layout import blob_folder, blob_key
from packages.model_registry.src.verify import referenced_blobs


@dataclass(frozen=True)
class Garbage:
    """Blobs that no manifest names. `removed` is empty on a dry run."""

    sha256s: tuple[str, ...]
    size_bytes: int
    removed: tuple[str, ...]


def gc(store: ObjectStore, model: str, *, dry_run: bool = True) -> Garbage:
    """Find the blobs of a model that nothing names and, unless it is a dry run, remove them.

    Raises:
        ManifestRefused: a manifest cannot be read, so nothing is removed.
    """
    found = {
        row.key.rpartition("/")[2]: row.size_bytes
        for row in store.list(blob_folder(model) + "/")
    }
    for sha256 in referenced_blobs(store, model):
        found.pop(sha256, None)
    removed = () if dry_run or not found else _remove(store, model, tuple(found))
    return Garbage(tuple(found), sum(found.values()), removed)


def _remove(
    store: ObjectStore, model: str, sha256s: tuple[str, ...]
) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        kept = []
        for sha256 in sha256s:
            try:
                store.download(blob_key(model, sha256), Path(folder, sha256))
            except ObjectMissing:
                continue  # another collection was faster
            kept.append(sha256)
            store.delete(blob_key(model, sha256))
        needed = referenced_blobs(store, model).intersection(kept)
        for sha256 in sorted(needed):
            _put_back(store, blob_key(model, sha256), Path(folder, sha256))
    return tuple(sha256 for sha256 in kept if sha256 not in needed)


def _put_back(store: ObjectStore, key: str, path: Path) -> None:
    try:
        store.create_from_file(key, path)
    except ObjectExists:
        return  # the registrant was faster; ours may have been the damaged one
