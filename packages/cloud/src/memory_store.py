"""The fake of an object store: a dictionary, with the promises of the real ones. For tests that need thousands."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from packages.cloud.src.object_store import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoredObject,
    checked_key,
)

FIRST_WRITE = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore:
    """An `ObjectStore` in a dictionary. Its time is the number of writes so far, in seconds after 2026-01-01."""

    def __init__(self, name: str = "store") -> None:
        self.uri = f"memory://{name}"
        self.objects: dict[str, bytes] = {}
        self._written_at: dict[str, datetime] = {}
        self._writes = 0
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        return self.read_with_etag(key)[0]

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        with self._lock:
            data = self._stored(key)
        return data, hashlib.sha256(data).hexdigest()

    def stat(self, key: str) -> StoredObject:
        with self._lock:
            return self._described(key)

    def exists(self, key: str) -> bool:
        return checked_key(key) in self.objects

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._lock:
            keys = [key for key in self.objects if key.startswith(prefix)]
            found = [self._described(key) for key in sorted(keys, key=str.encode)]
        yield from found

    def create(self, key: str, data: bytes) -> None:
        with self._lock:
            if self.objects.get(checked_key(key), data) != data:
                raise ObjectExists(f"{self.uri}/{key} already holds other bytes.")
            if key not in self.objects:
                self._write(key, data)

    def create_from_file(self, key: str, path: Path) -> None:
        self.create(key, path.read_bytes())

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        with self._lock:
            stored = self.objects.get(checked_key(key))
            etag = None if stored is None else hashlib.sha256(stored).hexdigest()
            if etag != if_etag:
                raise ObjectChanged(
                    f"{self.uri}/{key} has etag {etag}; expected {if_etag}."
                )
            self._write(key, data)
        return hashlib.sha256(data).hexdigest()

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(checked_key(key), None)

    def download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.read(key))

    def local_path(self, key: str) -> None:
        return None

    def _stored(self, key: str) -> bytes:
        if checked_key(key) not in self.objects:
            raise ObjectMissing(f"{self.uri}/{key}")
        return self.objects[key]

    def _described(self, key: str) -> StoredObject:
        data = self._stored(key)
        etag = hashlib.sha256(data).hexdigest()
        return StoredObject(key, len(data), etag, self._written_at[key])

    def _write(self, key: str, data: bytes) -> None:
        self._writes += 1
        self.objects[key] = data
        self._written_at[key] = FIRST_WRITE + timedelta(seconds=self._writes)
