"""Token ids and masks in content-addressed files that are written as a stream and memory-mapped on reading.

One file: an 8-byte magic, three uint64 counts (documents, tokens, bytes of places), then ids uint32, mask bool,
first token of each document uint64, scored bytes uint32, first byte of each place uint64, places UTF-8. Every array
starts at a multiple of 8 bytes. All numbers are little-endian.
"""

import bisect
import hashlib
import itertools
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from packages.chat_data.src.tokenization import TokenizedDocument
from packages.cloud.src.exit_codes import EX_DATAERR, UserError
from packages.cloud.src.object_store import (
    ObjectMissing,
    ObjectStore,
    fetch_blob,
    put_blob,
)

MAGIC = b"FTTOKEN1"
HEADER_BYTES = 32
TOKENS_PER_SHARD = 1 << 24


@dataclass(frozen=True)
class TokenSplit:
    """One side of the split. `shards` are the hashes of its files; `documents` counts training rows."""

    shards: tuple[str, ...]
    documents: int
    tokens: int
    scored_tokens: int
    scored_bytes: int

    @property
    def sha256(self) -> str:
        """Hash over the shard hashes."""
        return hashlib.sha256("\n".join(self.shards).encode()).hexdigest()


class ShardWriter:
    """Appends rows to shards of about 16 M tokens and stores each when it is full. A context manager.

    Args:
        folder: for the one file that is being written. Emptied on leaving.
        name: of that file.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: Path,
        name: str,
        tokens_per_shard: int = TOKENS_PER_SHARD,
    ) -> None:
        self._store, self._path = store, folder / f"{name}.shard"
        self._tokens_per_shard = tokens_per_shard
        self._shards: list[str] = []
        self._documents = self._tokens = self._scored_tokens = self._scored_bytes = 0
        self._file: BinaryIO | None = None
        self._begin()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, row: TokenizedDocument, where: str) -> None:
        """Append one row. `where` is kept for messages."""
        if self._file is None:
            self._file = self._path.open("wb")
            self._file.write(bytes(HEADER_BYTES))
        self._file.write(row.ids.astype("<u4", copy=False).tobytes())
        self._mask += row.scored.tobytes()
        self._starts.append(self._starts[-1] + len(row.ids))
        self._bytes.append(row.scored_bytes)
        self._places += where.encode("utf-8", "surrogatepass")
        self._place_starts.append(len(self._places))
        self._scored_tokens += int(np.count_nonzero(row.scored))
        self._scored_bytes += row.scored_bytes
        if self._starts[-1] >= self._tokens_per_shard:
            self._store_shard()

    def finish(self) -> TokenSplit:
        """Store the last shard and return the manifest of the split."""
        self._store_shard()
        return TokenSplit(
            tuple(self._shards),
            self._documents,
            self._tokens,
            self._scored_tokens,
            self._scored_bytes,
        )

    def _begin(self) -> None:
        self._mask, self._places = bytearray(), bytearray()
        self._starts, self._place_starts, self._bytes = (
            array("Q", [0]),
            array("Q", [0]),
            array("I"),
        )

    def _store_shard(self) -> None:
        if self._file is None:
            return
        documents, tokens = len(self._bytes), self._starts[-1]
        file, self._file = self._file, None
        with file:
            file.write(bytes(-4 * tokens % 8))
            for section in (
                bytes(self._mask),
                np.array(self._starts, "<u8").tobytes(),
                np.array(self._bytes, "<u4").tobytes(),
                np.array(self._place_starts, "<u8").tobytes(),
                bytes(self._places),
            ):
                file.write(section + bytes(-len(section) % 8))
            file.seek(0)
            file.write(MAGIC + struct.pack("<3Q", documents, tokens, len(self._places)))
        self._shards.append(put_blob(self._store, self._path))
        self._path.unlink()
        self._documents += documents
        self._tokens += tokens
        self._begin()


class TokenReader(Sequence[TokenizedDocument]):
    """The rows of a split as views on memory-mapped files: cheap to open, flat in memory, any order."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = [_Shard(path) for path in paths]
        self._ends = list(
            itertools.accumulate(shard.documents for shard in self._shards)
        )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> TokenizedDocument:  # type: ignore[override]
        shard, row = self._locate(index)
        return shard.row(row)

    def where(self, index: int) -> str:
        """The origin of a row: file and line."""
        shard, row = self._locate(index)
        return shard.where(row)

    def key(self, index: int) -> str:
        """sha256 hex of ids and mask: equal rows have equal keys in every run."""
        row = self[index]
        return hashlib.sha256(
            row.ids.astype("<u4", copy=False).tobytes() + row.scored.tobytes()
        ).hexdigest()

    def lengths(self) -> np.ndarray:
        """(documents,), int64: tokens of each row."""
        parts = [np.diff(shard.starts.astype(np.int64)) for shard in self._shards]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _locate(self, index: int) -> tuple["_Shard", int]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a split of {len(self):,} rows")
        number = bisect.bisect_right(self._ends, index)
        return self._shards[number], index - (self._ends[number - 1] if number else 0)


def open_split(store: ObjectStore, split: TokenSplit, cache_dir: Path) -> TokenReader:
    """The rows of a split, every shard verified against its hash.

    Raises:
        UserError: a shard is missing, damaged, or of another format.
    """
    paths = []
    for sha256 in split.shards:
        try:
            paths.append(fetch_blob(store, sha256, cache_dir))
        except ObjectMissing as error:
            raise UserError(
                f"The token shard {sha256} is not in {store.uri}. It was deleted after the run wrote it: "
                "run again from the tokenize step.",
                EX_DATAERR,
            ) from error
    reader = TokenReader(paths)
    if len(reader) != split.documents:
        raise UserError(
            f"The shards of a split hold {len(reader):,} rows, its manifest says {split.documents:,}. "
            "Run again from the tokenize step.",
            EX_DATAERR,
        )
    return reader


class _Shard:
    """One memory-mapped file."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        # As a plain array: a memmap repeats its bookkeeping at every slice.
        mapped = (
            np.asarray(np.memmap(path, np.uint8, "r"))
            if size
            else np.zeros(0, np.uint8)
        )
        head = bytes(mapped[:HEADER_BYTES])
        if len(head) < HEADER_BYTES or head[:8] != MAGIC:
            raise _unreadable(path, f"it begins with {head[:8]!r}, expected {MAGIC!r}")
        self.documents, self.tokens, places = struct.unpack("<3Q", head[8:])
        starts = 8 * (self.documents + 1)
        lengths = (
            4 * self.tokens,
            self.tokens,
            starts,
            4 * self.documents,
            starts,
            places,
        )
        sections = [
            mapped[start : start + length] for start, length in _sections(lengths)
        ]
        if sum(length + -length % 8 for length in lengths) + HEADER_BYTES != size:
            raise _unreadable(
                path, f"it has {size:,} bytes, its header promises another number"
            )
        self._ids = sections[0].view("<u4")
        self._mask = sections[1].view(np.bool_)
        self.starts = sections[2].view("<u8")
        self._bytes = sections[3].view("<u4")
        self._place_starts = sections[4].view("<u8")
        self._places = sections[5]

    def row(self, number: int) -> TokenizedDocument:
        start, end = int(self.starts[number]), int(self.starts[number + 1])
        return TokenizedDocument(
            self._ids[start:end], self._mask[start:end], int(self._bytes[number])
        )

    def where(self, number: int) -> str:
        start, end = int(self._place_starts[number]), int(
            self._place_starts[number + 1]
        )
        return bytes(self._places[start:end]).decode("utf-8", "surrogatepass")


def _sections(lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    start = HEADER_BYTES
    for length in lengths:
        yield start, length
        start += length + -length % 8


def _unreadable(path: Path, finding: str) -> UserError:
    return UserError(
        f"The token shard {path.name} cannot be read: {finding}. Run again from the tokenize step.",
        EX_DATAERR,
    )
