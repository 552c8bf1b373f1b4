"""Files, folders and glob patterns of this machine as a source."""

import glob
import hashlib
import os
import stat
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from packages.chat_data.src.byte_chunks import CHUNK_BYTES
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.pins import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    PinnedObject,
    PinnedSource,
    choose_keys,
)
from packages.chat_data.src.problems import BadData, Problem, shown
from packages.cloud.src.exit_codes import EX_NOINPUT, EX_NOPERM, EX_USAGE, UserError

MAX_PATH_BYTES = 4096
_SUFFIXES = " ".join(f"*{suffix}" for suffix in TEXT_SUFFIXES[:3] + TABLE_SUFFIXES)


def pin_local(uri: str, limits: ReadLimits) -> PinnedSource:
    """Every readable file of a path or pattern, hashed.

    Raises:
        UserError: nothing is there (66), no permission (77), path too long (64), a file over the limits (65).
        BadData: FT-D070, a path is neither a file nor a folder.
    """
    if len(os.fsencode(uri)) > MAX_PATH_BYTES:
        raise UserError(
            f"The path of the data is {len(uri):,} characters long, at most 4,096 are possible.",
            EX_USAGE,
        )
    path = Path(uri).expanduser()
    mode = _mode(path, uri)
    if mode is None and glob.has_magic(uri):
        return _pin_pattern(str(path), uri, limits)
    if mode is None:
        raise _missing(path, uri)
    if stat.S_ISDIR(mode):
        return _pin_folder(path, uri, limits)
    return PinnedSource(
        uri,
        "local",
        "",
        (_pin_file(path, path.name, uri, limits),),
        root=str(path.parent),
    )


def local_chunks(source: PinnedSource, pinned: PinnedObject) -> Iterator[bytes]:
    """The bytes of one pinned file, in pieces.

    Raises:
        UserError: the file is gone (66) or may not be read (77).
    """
    path = local_root(source) / pinned.key
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise _unreadable(path, error) from error


def local_root(source: PinnedSource) -> Path:
    """The folder that the keys are relative to."""
    return Path(source.root)


def _pin_folder(folder: Path, uri: str, limits: ReadLimits) -> PinnedSource:
    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename or folder), error) from error

    keys = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        keys += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
        if len(keys) > limits.objects:
            raise UserError(
                f"{uri} holds more than {limits.objects:,} files. Name a smaller folder.",
                EX_NOINPUT,
            )
    chosen, note = choose_keys(keys)
    if not chosen:
        there = (
            ", ".join(shown(key, 60) for key in sorted(keys)[:3]) or "no file at all"
        )
        raise UserError(
            f"{shown(uri)} holds no file that can be read as text. Found: {there}. Expected {_SUFFIXES} (or .gz, .zst)."
            " Name another folder, or one file.",
            EX_NOINPUT,
        )
    objects = tuple(
        _pin_file(folder / key, key, f"{uri.rstrip('/')}/{key}", limits)
        for key in chosen
    )
    return PinnedSource(uri, "local", "", objects, note, root=str(folder))


def _pin_pattern(pattern: str, uri: str, limits: ReadLimits) -> PinnedSource:
    # Path.glob wants a fixed root and a relative pattern; a user writes one string.
    found = [Path(path) for path in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = [path for path in found if path.is_file()]
    if not files:
        raise UserError(
            f"{shown(uri)} matches no file in {Path.cwd()}. Correct the pattern, and quote it.",
            EX_NOINPUT,
        )
    fixed = pattern[: next(at for at, letter in enumerate(pattern) if letter in "*?[")]
    root = Path(fixed) if fixed.endswith("/") else Path(fixed).parent
    chosen, note = choose_keys([path.relative_to(root).as_posix() for path in files])
    if not chosen:
        raise UserError(
            f"{shown(uri)} matches {len(files)} files, none of {_SUFFIXES}.", EX_NOINPUT
        )
    objects = tuple(
        _pin_file(root / key, key, str(root / key), limits) for key in chosen
    )
    return PinnedSource(uri, "local", "", objects, note, root=str(root))


def _pin_file(path: Path, key: str, place: str, limits: ReadLimits) -> PinnedObject:
    mode = _mode(path, place)
    if mode is None:
        raise _missing(path, place)
    if not stat.S_ISREG(mode):
        message = "not a regular file (a device, pipe or socket)"
        raise BadData(
            [
                Problem(
                    "FT-D070", place, 0, 0, message, "name a file or a folder of files"
                )
            ]
        )
    size = path.stat().st_size
    if size > limits.file_bytes:
        message = f"the file has {size:,} bytes, more than {limits.file_bytes:,}"
        raise BadData([Problem("FT-D072", place, 0, 0, message, "split it")])
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    return PinnedObject(key, size, sha256, etag=sha256)


def _mode(path: Path, uri: str) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UserError(f"{shown(uri)} is no path: {error}.", EX_USAGE) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _missing(path: Path, uri: str) -> UserError:
    nearest = path.parent
    names = (
        [entry.name for entry in nearest.iterdir()]
        if nearest.is_dir() and os.access(nearest, os.R_OK)
        else []
    )
    near = [
        shown(str(nearest / name), 80)
        for name in get_close_matches(path.name, names, n=3, cutoff=0.5)
    ]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UserError(
        f"{shown(uri)} does not exist, seen from {Path.cwd()}.{hint} Correct the path.",
        EX_NOINPUT,
    )


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, PermissionError):
        return UserError(
            f"{shown(str(path))} may not be read by this user. Run: chmod u+r on it.",
            EX_NOPERM,
        )
    return UserError(
        f"{shown(str(path))} cannot be read: {error.strerror}. Correct the path.",
        EX_NOINPUT,
    )
