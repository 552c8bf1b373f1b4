"""Where the bytes of a run lie between its steps: beside Metaflow's own artifacts, local or in S3.

An artifact is a pickle held in memory, so tokens and adapters are not artifacts. They are
content-addressed objects in the datastore; the artifact is the list of their hashes.
"""

import os
import tempfile
from pathlib import Path

from metaflow.datastore import FlowDataStore

from packages.cloud.src.object_store import ObjectStore, open_store

FOLDER = "qwen_ft"


def open_run_store() -> ObjectStore:
    """The store of the datastore that the running step uses."""
    storage = FlowDataStore.default_storage_impl
    if storage is None or storage.datastore_root is None:
        raise RuntimeError(
            "open_run_store is for code that runs inside a Metaflow step"
        )
    root = str(storage.datastore_root)
    if storage.TYPE != "s3":
        root = Path(root).resolve().as_uri()
    return open_store(f"{root}/{FOLDER}")


def local_cache() -> Path:
    """A folder for downloaded objects, the same for every step of one user on one machine."""
    return Path(tempfile.gettempdir()) / f"qwen_ft-cache-{os.getuid()}"
