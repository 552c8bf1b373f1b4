"""Where the data comes from: the address a user wrote becomes a pinned list of objects, and objects become bytes."""

import hashlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from packages.chat_data.src.document import document_key
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.local_source import local_chunks, pin_local
from packages.chat_data.src.pins import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    PinnedObject,
    PinnedSource,
)
from packages.chat_data.src.problems import shown
from packages.cloud.src.exit_codes import EX_USAGE, UserError

STARTER_URI = "starter://python-docs"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?")

__all__ = [
    "PinnedObject",
    "PinnedSource",
    "object_chunks",
    "object_place",
    "pin_source",
]


def pin_source(uri: str, limits: ReadLimits | None = None) -> PinnedSource:
    """Fix what a run reads: every object with its size and hash. Reads all bytes once, keeps none.

    Args:
        uri: starter://python-docs, a file, a folder, a glob pattern, s3://bucket/prefix, or a hub data set
            ("org/name", "org/name@revision", "hf://datasets/org/name").

    Raises:
        UserError: with the exit code of the reason: 64 usage, 65 bad data, 66 missing, 69 service, 77 permission.
    """
    limits = limits or ReadLimits()
    if not uri.strip():
        raise UserError(
            f"data.source is empty. Use {STARTER_URI}, a path, s3://bucket/prefix or a hub id.",
            EX_USAGE,
        )
    if uri.startswith("starter://"):
        return _pin_starter(uri)
    if uri.startswith("s3://"):
        from packages.chat_data.src.s3_source import pin_s3

        return pin_s3(uri, limits)
    if uri.startswith("hf://") or _means_hub(uri):
        from packages.chat_data.src.hub_source import pin_hub

        return pin_hub(uri, limits)
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(
            f"data.source is {shown(uri)}: that scheme cannot be read. Use {STARTER_URI}, a path, s3:// or a hub id.",
            EX_USAGE,
        )
    return pin_local(uri.removeprefix("file://"), limits)


def object_chunks(source: PinnedSource, pinned: PinnedObject) -> Iterator[bytes]:
    """The stored bytes of one object, in pieces of at most about 1 MiB."""
    if source.kind == "s3":
        from packages.chat_data.src.s3_source import s3_chunks

        return s3_chunks(source, pinned)
    if source.kind == "hub":
        from packages.chat_data.src.hub_source import hub_chunks

        return hub_chunks(source, pinned)
    return local_chunks(source, pinned)


def object_place(source: PinnedSource, pinned: PinnedObject) -> str:
    """The object as the user would name it, for messages."""
    if source.kind == "local":
        return str(Path(source.root) / pinned.key)
    return f"{source.root.rstrip('/')}/{pinned.key}"


def _means_hub(uri: str) -> bool:
    if not _HUB_ID.fullmatch(uri) or Path(uri).exists():
        return False
    # "data/train.jsonl" and "data/missing" beside an existing folder are paths that are wrong, not hub ids.
    known = uri.lower().endswith(TEXT_SUFFIXES + TABLE_SUFFIXES + (".gz", ".zst"))
    return not known and not Path(uri).parent.is_dir()


def _pin_starter(uri: str) -> PinnedSource:
    from packages.chat_data.src.starter_corpus import starter_documents

    if uri != STARTER_URI:
        raise UserError(
            f"data.source is {shown(uri)}. The only starter corpus is {STARTER_URI}.",
            EX_USAGE,
        )
    digest, size = hashlib.sha256(), 0
    for document in starter_documents():
        digest.update(bytes.fromhex(document_key(document)))
        for message in document.messages:
            content = f"{message.role}\0{message.content}\0".encode()
            digest.update(content)
            size += len(message.content.encode())
    sha256 = digest.hexdigest()
    pinned = PinnedObject("python-docs", size, sha256, etag=sha256)
    revision = f"{platform.python_implementation()}-{platform.python_version()}"
    return PinnedSource(uri, "starter", revision, (pinned,), root="starter://")
