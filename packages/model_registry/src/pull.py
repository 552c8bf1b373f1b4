"""Copy a verified version into a folder of the user's choice."""

import os
import shutil
import uuid
from pathlib import Path

from packages.cloud.src.exit_codes import EX_CANTCREAT, UserError
from packages.cloud.src.folder_store import write_refusals_explained
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.load_guard import MANIFEST_NAME, guard_adapter
from packages.model_registry.src.read import download_blob, resolve


def pull(store: ObjectStore, model: str, name: str, destination: Path) -> Path:
    """Put the files of a version, and its manifest.json, into a new folder, which appears whole or not at all.

    Raises:
        UserError: `destination` exists and is not an empty folder, or cannot be written.
        LoadRefused, and what `resolve` raises.
    """
    manifest = resolve(store, model, name).manifest
    if destination.exists() and not _is_empty_folder(destination):
        raise UserError(
            f"{destination} already exists. Name a new folder to pull {model} {manifest.version} into.",
            EX_CANTCREAT,
        )
    arriving = destination.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    with write_refusals_explained(destination):
        try:
            arriving.mkdir(parents=True)
            for file in manifest.files:
                download_blob(store, manifest, file, arriving / file.path)
            (arriving / MANIFEST_NAME).write_bytes(manifest.to_bytes())
            guard_adapter(arriving, manifest)
            arriving.replace(destination)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
    return destination


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
