"""The exact bytes that a run trains on: which objects, how large, with which hash."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst")
TABLE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_ABOUT = re.compile(r"(?i)(?:readme|licen[cs]e|notice|changelog|citation|authors)\b")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class PinnedObject:
    """One file or object.

    Args:
        key: path below the source, with "/".
        sha256: hex; "git-sha1:<hex>" for a small file of a hub commit, which publishes only that.
        etag: version mark of the store; the sha256 where the store has none.
    """

    key: str
    size_bytes: int
    sha256: str
    etag: str


@dataclass(frozen=True)
class PinnedSource:
    """What `start` decides and `tokenize` reads. Small, picklable.

    Args:
        uri: as the user wrote it.
        kind: "starter", "local", "s3" or "hub".
        revision: commit of a hub data set, version of the interpreter for the starter corpus, else empty.
        note: what was left out and why, for the log and the card.
    """

    uri: str
    kind: str
    revision: str
    objects: tuple[PinnedObject, ...]
    note: str = ""
    root: str = field(default="", compare=False)

    @property
    def data_sha256(self) -> str:
        """Hash over the sorted (key, sha256) pairs: equal for equal data, wherever it lies."""
        digest = hashlib.sha256()
        for found in sorted(self.objects, key=lambda one: one.key):
            digest.update(
                f"{found.key}\0{found.sha256}\n".encode("utf-8", "surrogatepass")
            )
        return digest.hexdigest()

    @property
    def size_bytes(self) -> int:
        """All objects together, as stored."""
        return sum(found.size_bytes for found in self.objects)


def file_type(key: str) -> tuple[str, str]:
    """(suffix of the content, compression): ("jsonl", "gzip") for rows.jsonl.gz; ("", "") for a type nobody reads."""
    path = PurePosixPath(key.lower())
    compression = COMPRESSIONS.get(path.suffix, "")
    suffix = PurePosixPath(path.stem).suffix if compression else path.suffix
    if suffix in TEXT_SUFFIXES:
        return "text", compression
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl", compression
    return (suffix[1:], compression) if suffix in TABLE_SUFFIXES else ("", "")


def choose_keys(keys: list[str]) -> tuple[list[str], str]:
    """The keys worth reading, sorted, and a note on the rest.

    Hidden files never count. A folder is read as rows or as text, not as both: as rows where there is JSONL or
    Parquet, and else as whichever of tables (JSON, CSV) and text has more files, a README or a licence not counted.
    """
    visible = [
        key for key in keys if not any(part.startswith(".") for part in key.split("/"))
    ]
    known = sorted(key for key in visible if file_type(key)[0])
    texts = [key for key in known if file_type(key)[0] == "text"]
    tables = [key for key in known if file_type(key)[0] != "text"]
    certain = any(file_type(key)[0] in ("jsonl", "parquet") for key in tables)
    pages = [key for key in texts if not _ABOUT.match(key.rpartition("/")[2])]
    as_rows = bool(tables) and (certain or len(tables) >= len(pages))
    chosen, other = (tables, texts) if as_rows else (texts, tables)
    notes = []
    if other:
        notes.append(
            f"{len(other)} {'text files beside the tables' if as_rows else 'tables beside the text'} left out"
        )
    if len(visible) > len(known):
        notes.append(f"{len(visible) - len(known)} files of other types left out")
    return chosen, "; ".join(notes)
