"""The files of an adapter between steps: stored as blobs under their hashes, fetched with them verified. No torch."""

import shutil
from pathlib import Path

from packages.cloud.src.exit_codes import EX_NOINPUT, UserError
from packages.cloud.src.object_store import (
    ObjectMissing,
    fetch_blob,
    open_store,
    put_blob,
    sha256_of_file,
)
from packages.qwen_ft.src.trained_adapter import StoredFile, TrainedAdapter

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"


def store_adapter(folder: Path, store_uri: str) -> tuple[StoredFile, ...]:
    """Put every file of an adapter's folder into the store as a blob."""
    store = open_store(store_uri)
    return tuple(
        StoredFile(path.name, path.stat().st_size, put_blob(store, path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def fetch_adapter(adapter: TrainedAdapter, folder: Path) -> Path:
    """Write the adapter's files, hashes verified, into `folder`, and return it.

    Raises:
        UserError: a file is not in the store (66) or damaged there (65).
    """
    store = open_store(adapter.store_uri)
    folder.mkdir(parents=True, exist_ok=True)
    for file in adapter.files:
        try:
            blob = fetch_blob(store, file.sha256, folder / ".blobs")
        except ObjectMissing as error:
            raise UserError(
                f"{file.name} of the adapter (sha256 {file.sha256[:12]}) is not in "
                f"{adapter.store_uri}. Train again, or point to the store it was written to.",
                EX_NOINPUT,
            ) from error
        shutil.copyfile(blob, folder / file.name)
    shutil.rmtree(folder / ".blobs", ignore_errors=True)
    return folder


def adapter_sha256(folder: Path) -> str:
    """Hash of the adapter's weights file: equal hashes, equal adapters."""
    return sha256_of_file(folder / WEIGHTS_FILE)
