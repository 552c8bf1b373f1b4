"""Make blobs and plain copies right again, each from the other, wherever one good copy is left."""

import logging
import tempfile
from pathlib import Path

from packages.cloud.src.object_store import ObjectChanged, ObjectMissing, ObjectStore
from packages.model_registry.src.layout import blob_key, copy_key, listed_labels
from packages.model_registry.src.manifest import Manifest, ManifestFile
from packages.model_registry.src.read import read_manifest
from packages.model_registry.src.refusals import ManifestRefused
from packages.model_registry.src.verify import sha256_of_object

log = logging.getLogger(__name__)


def repair(store: ObjectStore, model: str) -> tuple[str, ...]:
    """Restore what a crash or a damaged disk left wrong. Returns the keys that were written.

    Safe to run at any time and by several at once: only bytes with the hash of the manifest are ever written.
    Manifests and aliases have no second copy and are never touched; `verify` names what remains.
    """
    written: list[str] = []
    for label in sorted(listed_labels(store, model)):
        try:
            manifest = read_manifest(store, model, str(label))
        except ManifestRefused as error:
            log.warning("%s", error)
            continue
        for file in manifest.files:
            written += repair_file(store, manifest, file)
    return tuple(written)


def repair_file(
    store: ObjectStore, manifest: Manifest, file: ManifestFile
) -> list[str]:
    """Make the blob and the copy of one file right. Returns the keys that were written."""
    keys = [
        blob_key(manifest.model, file.sha256),
        copy_key(manifest.model, manifest.version, file.path),
    ]
    found = {key: sha256_of_object(store, key) for key in keys}
    good = [key for key in keys if found[key] == file.sha256]
    wrong = [key for key in keys if found[key] != file.sha256]
    if not good:
        log.error("%s of %s has no good copy", file.path, manifest.version)
        return []
    written = []
    for key in wrong:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "good")
            store.download(good[0], path)
            if _written(store, key, path, missing=found[key] is None):
                written.append(key)
    return written


def _written(store: ObjectStore, key: str, path: Path, missing: bool) -> bool:
    try:
        if missing:
            store.create_from_file(key, path)
        else:
            store.replace(key, path.read_bytes(), store.stat(key).etag)
    except (ObjectChanged, ObjectMissing):
        return False  # another repair was faster
    return True
