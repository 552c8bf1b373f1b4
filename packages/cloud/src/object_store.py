"""Named bytes in a folder or in S3 behind one interface, and content-addressed blobs on top of it.

Every write is atomic: a key shows the old bytes, the new bytes or nothing, never a part. `create` never
overwrites, `replace` is compare-and-swap, so that the promises of the registry and of the checkpoint store hold on
a laptop folder exactly as on S3. Nothing here depends on a clock.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from packages.cloud.src.exit_codes import EX_DATAERR, EX_USAGE, UserError

BLOB_FOLDER = "blobs/sha256"
MAX_KEY_BYTES = 1024  # S3's own limit on the length of a key
HIDDEN_PREFIXES = (".tmp-", ".store-lock")  # names the folder store keeps for itself


class ObjectMissing(KeyError):
    """No object is stored under this key."""


class ObjectExists(Exception):
    """`create` found other bytes under the key. What was there is still there."""


class ObjectChanged(Exception):
    """`replace` found another etag than the caller had read. Nothing was written: read again, decide again."""


class BlobDamaged(UserError):
    """The bytes stored under a hash do not have that hash."""


@dataclass(frozen=True)
class StoredObject:
    """What is known of one object. `modified_at` is the time of the store (S3's, or the file system's).

    The `etag` is empty in a listing of a folder, where it would cost reading every file: `stat` gives it.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class ObjectStore(Protocol):
    """What the registry, the checkpoint store and the token shards need from storage. Keys use `/`."""

    @property
    def uri(self) -> str:
        """`file:///abs/dir` or `s3://bucket/prefix`: `open_store(uri)` gives an equal store in another process."""

    def read(self, key: str) -> bytes:
        """The bytes under `key`. Raises ObjectMissing."""

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        """The bytes and the etag that `replace` wants. Raises ObjectMissing."""

    def stat(self, key: str) -> StoredObject:
        """Size, etag and time of one object. Raises ObjectMissing."""

    def exists(self, key: str) -> bool:
        """Whether something is stored under `key`."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with `prefix` (a plain string, as in S3), in the order of the key's bytes."""

    def create(self, key: str, data: bytes) -> None:
        """Store `data` under a new key. The same bytes already there count as success (a lost acknowledgement).

        Raises:
            ObjectExists: other bytes are there. They stay.
        """

    def create_from_file(self, key: str, path: Path) -> None:
        """`create` for a file that may be larger than memory. Raises ObjectExists."""

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        """Swap the bytes if the etag is still `if_etag`; None means that nothing may be there. Returns the new etag.

        Make `data` unique per writer (an operation id inside): that is how a lost acknowledgement is told from
        another writer's equal bytes.

        Raises:
            ObjectChanged: somebody else wrote first.
        """

    def delete(self, key: str) -> None:
        """Remove one object; nothing there is fine. Only garbage collection calls this."""

    def download(self, key: str, path: Path) -> None:
        """Copy an object into a local file, which appears whole or not at all. Raises ObjectMissing."""

    def local_path(self, key: str) -> Path | None:
        """Where the object lies as a file of this machine, if it does. Raises ObjectMissing on a folder store."""


def open_store(uri: str) -> ObjectStore:
    """The store at `s3://bucket/prefix`, `file:///dir` or a plain path. Touches neither network nor disk yet.

    Raises:
        UserError: the address has another scheme, or names no bucket.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme == "s3":
        from packages.cloud.src.s3_store import S3Store

        return S3Store(uri)
    from packages.cloud.src.folder_store import FolderStore

    if scheme == "":
        return FolderStore(Path(uri).expanduser())
    if scheme == "file" and urlsplit(uri).netloc in ("", "localhost"):
        return FolderStore(Path(unquote(urlsplit(uri).path)))
    raise UserError(
        f"Cannot store anything at {uri!r}. Expected s3://bucket/prefix, file:///absolute/folder or a plain path.",
        EX_USAGE,
    )


def checked_key(key: str) -> str:
    """`key` itself, once it is sure to name one place below the root of any store.

    Raises:
        ValueError: empty, absolute, with an empty, `.` or `..` part, a backslash, a control character, a name
            that the folder store keeps for itself, or longer than S3 allows.
    """
    parts = key.split("/")
    wrong = (
        any(
            part in ("", ".", "..") or part.startswith(HIDDEN_PREFIXES)
            for part in parts
        )
        or "\\" in key
        or any(ord(character) < 32 or ord(character) == 127 for character in key)
        or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES
    )
    if wrong:
        raise ValueError(
            f"{key[:200]!r} is no key of an object store. Expected parts joined by single slashes, none of them "
            f"'.' or '..', without backslash or control character, {MAX_KEY_BYTES} bytes at most."
        )
    return key


def sha256_of_file(path: Path) -> str:
    """Lower-case hex SHA-256 of a file of any size, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_blob(
    store: ObjectStore, source: Path | bytes, folder: str = BLOB_FOLDER
) -> str:
    """Store bytes or a file under its own SHA-256 and return that, in hex. Writes nothing when it is already there.

    Already there means: an object of the same size under that hash. Its bytes are checked when they are fetched.

    Raises:
        BlobDamaged: what is stored under the hash has another size.
    """
    if isinstance(source, bytes):
        sha256, size_bytes = hashlib.sha256(source).hexdigest(), len(source)
    else:
        sha256, size_bytes = sha256_of_file(source), source.stat().st_size
    key = f"{folder}/{sha256}"
    try:
        stored = store.stat(key)
    except ObjectMissing:
        try:
            if isinstance(source, bytes):
                store.create(key, source)
            else:
                store.create_from_file(key, source)
        except ObjectExists as error:
            raise _damaged(store, key, "other bytes are there") from error
        return sha256
    if stored.size_bytes != size_bytes:
        raise _damaged(
            store,
            key,
            f"it holds {stored.size_bytes:,} bytes instead of {size_bytes:,}",
        )
    return sha256


def fetch_blob(
    store: ObjectStore, sha256: str, cache_dir: Path, folder: str = BLOB_FOLDER
) -> Path:
    """A local file with the blob's bytes, hash verified; it can be memory-mapped. Never write to it.

    On a folder store this is the stored file itself; from S3 it is a copy in `cache_dir`, kept for the next caller
    and downloaded again if it was damaged there.

    Raises:
        ObjectMissing: there is no such blob.
        BlobDamaged: the stored bytes have another hash.
    """
    key = f"{folder}/{sha256}"
    stored_file = store.local_path(key)
    if stored_file is not None:
        if sha256_of_file(stored_file) != sha256:
            raise _damaged(store, key, "its bytes have another hash")
        return stored_file
    cached = cache_dir / sha256
    if cached.is_file() and sha256_of_file(cached) == sha256:
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    arriving = cache_dir / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        store.download(key, arriving)
        if sha256_of_file(arriving) != sha256:
            raise _damaged(store, key, "its bytes have another hash")
        arriving.replace(cached)
    finally:
        arriving.unlink(missing_ok=True)
    return cached


def _damaged(store: ObjectStore, key: str, finding: str) -> BlobDamaged:
    return BlobDamaged(
        f"{store.uri}/{key} is damaged: {finding}. The name of a blob is the SHA-256 of its bytes. "
        "Restore that object from a backup or an older object version, or delete it and run again.",
        EX_DATAERR,
    )
