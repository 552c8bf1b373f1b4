"""Objects as files of one folder: atomic, durable, and safe between processes of one machine."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from packages.cloud.src.exit_codes import EX_CANTCREAT, EX_NOPERM, UserError
from packages.cloud.src.object_store import (
    HIDDEN_PREFIXES,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoredObject,
    checked_key,
    sha256_of_file,
)

LOCK_NAME = ".store-lock"
Writer = Callable[[BinaryIO], object]
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "the disk quota is used up. Free some space",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.EACCES: "this user may not write there. Change the permissions, or choose another folder",
    errno.EPERM: "this user may not write there. Change the permissions, or choose another folder",
    errno.ENOTDIR: "a part of the path is a file. Choose another folder",
    errno.EEXIST: "a part of the path is a file. Choose another folder",
    errno.ENAMETOOLONG: "the path is longer than the file system allows. Choose a shorter one",
}


class FolderStore:
    """An `ObjectStore` in a folder. The folder is made by the first write.

    A new object is written to a hidden temporary file beside its place, synced, and given its name with a hard
    link, which fails if the name is taken: no reader sees a part, and one of two writers wins. `replace` and
    `delete` hold a lock file of the folder. The etag is the SHA-256 of the bytes. A process that dies leaves at most a
    `.tmp-` file, which nothing lists.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.uri = self.root.as_uri()

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    def read(self, key: str) -> bytes:
        path = self._path(key)
        try:
            with read_refusals_explained(path):
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise self._missing(key) from error

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, hashlib.sha256(data).hexdigest()

    def stat(self, key: str) -> StoredObject:
        path = self._path(key)
        if not _is_file(path):
            raise self._missing(key)
        return _stored_object(key, path, etag=sha256_of_file(path))

    def exists(self, key: str) -> bool:
        return _is_file(self._path(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        deepest_folder = self.root / prefix.rpartition("/")[0]
        found: list[tuple[bytes, str, Path]] = []
        for folder, _, names in os.walk(deepest_folder, onerror=_unreadable_folder):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if key.startswith(prefix) and not name.startswith(HIDDEN_PREFIXES):
                    found.append((os.fsencode(key), key, path))
        for _, key, path in sorted(found):
            with contextlib.suppress(FileNotFoundError):  # deleted since the walk
                yield _stored_object(key, path, etag="")

    def create(self, key: str, data: bytes) -> None:
        with self._written(key, lambda file: file.write(data)) as temporary:
            if not self._claim(temporary, self._path(key)) and self.read(key) != data:
                raise self._exists(key)

    def create_from_file(self, key: str, path: Path) -> None:
        with (
            path.open("rb") as source,
            self._written(
                key, lambda file: shutil.copyfileobj(source, file)
            ) as temporary,
        ):
            final = self._path(key)
            if not self._claim(temporary, final) and sha256_of_file(
                temporary
            ) != sha256_of_file(final):
                raise self._exists(key)

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        final = self._path(key)
        with self._written(key, lambda file: file.write(data)) as temporary:
            if if_etag is None:
                if not self._claim(temporary, final):
                    raise self._changed(key, None)
            else:
                with self._lock():
                    if not final.is_file() or sha256_of_file(final) != if_etag:
                        raise self._changed(key, if_etag)
                    temporary.replace(final)
                    _sync_folder(final.parent)
        return hashlib.sha256(data).hexdigest()

    def delete(self, key: str) -> None:
        final = self._path(key)
        if final.parent.is_dir():
            with self._lock(), write_refusals_explained(final):
                final.unlink(missing_ok=True)
                _sync_folder(final.parent)

    def download(self, key: str, path: Path) -> None:
        source = self.local_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            source.open("rb") as file,
            _temporary_file(
                path, lambda target: shutil.copyfileobj(file, target)
            ) as ready,
        ):
            ready.replace(path)

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not _is_file(path):
            raise self._missing(key)
        return path

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    @contextlib.contextmanager
    def _written(self, key: str, write: Writer) -> Iterator[Path]:
        """A synced temporary file beside the key's place, gone afterwards."""
        final = self._path(key)
        with write_refusals_explained(final):
            _make_folders(final.parent)
        with _temporary_file(final, write) as temporary:
            yield temporary

    def _claim(self, temporary: Path, final: Path) -> bool:
        """Give the temporary file its final name unless that is taken. True for the one who got it."""
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            with self._lock():  # exFAT and some network mounts have no hard links
                if final.exists():
                    return False
                temporary.rename(final)
        _sync_folder(final.parent)
        return True

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclusive between threads and processes: flock belongs to the open file, and each call opens its own."""
        with (self.root / LOCK_NAME).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing(f"{self.uri}/{key}")

    def _exists(self, key: str) -> ObjectExists:
        return ObjectExists(
            f"{self.uri}/{key} already holds other bytes. They were left as they are."
        )

    def _changed(self, key: str, if_etag: str | None) -> ObjectChanged:
        expected = f"etag {if_etag}" if if_etag else "nothing"
        return ObjectChanged(
            f"{self.uri}/{key} was changed by somebody else; expected {expected}. Read it again."
        )


@contextlib.contextmanager
def _temporary_file(final: Path, write: Writer) -> Iterator[Path]:
    temporary = final.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with write_refusals_explained(final), temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_refusals_explained(path: Path) -> Iterator[None]:
    """Turn a refusal of the file system into a message for the user; what cannot be explained stays an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise UserError(
            f"Cannot write {path}: {_REASONS[error.errno]}, then run again.",
            EX_CANTCREAT,
        ) from error


@contextlib.contextmanager
def read_refusals_explained(path: Path) -> Iterator[None]:
    """Turn a denied read into a message for the user."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"Cannot read {path}: this user may not. Change the permissions of the file and its "
            "folders, then run again.",
            EX_NOPERM,
        ) from error


def _is_file(path: Path) -> bool:
    with read_refusals_explained(path):
        return path.is_file()


def _unreadable_folder(error: OSError) -> None:
    """A folder that cannot be listed is an error, not an empty folder; one that is not there is empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        with read_refusals_explained(Path(error.filename)):
            raise error


def _make_folders(folder: Path) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut, not only a crash of the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored_object(key: str, path: Path, etag: str) -> StoredObject:
    status = path.stat()
    return StoredObject(
        key, status.st_size, etag, datetime.fromtimestamp(status.st_mtime, UTC)
    )
