"""The bytes of one pinned object: decompressed within bounds, and proven to be the bytes that were pinned."""

import hashlib
import zlib
from collections.abc import Iterator

from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData, Problem

CHUNK_BYTES = 1 << 20

# First bytes -> what the file is. Archives and compressed files get their own code: the remedy differs.
_CONTAINERS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
}
_BINARIES = {
    b"\x89PNG\r\n\x1a\n": "PNG image",
    b"\xff\xd8\xff": "JPEG image",
    b"GIF8": "GIF image",
    b"%PDF-": "PDF document",
    b"\x7fELF": "ELF program",
    b"SQLite format 3\x00": "SQLite database",
    b"OggS": "Ogg audio",
    b"RIFF": "RIFF media",
}
_WIDE_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32LE",
    b"\x00\x00\xfe\xff": "UTF-32BE",
    b"\xff\xfe": "UTF-16LE",
    b"\xfe\xff": "UTF-16BE",
}


def verified(
    chunks: Iterator[bytes], place: str, size_bytes: int, sha256: str
) -> Iterator[bytes]:
    """The same chunks; after the last one, the proof that they are the pinned bytes.

    Raises:
        BadData: FT-D071, size or hash differ from the pin.
    """
    digest, seen = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        seen += len(chunk)
        if seen > size_bytes:
            break
        yield chunk
    if seen != size_bytes or digest.hexdigest() != sha256:
        message = f"changed since the run pinned it: {size_bytes:,} bytes then, {seen:,} now or other content"
        raise BadData(
            [
                Problem(
                    "FT-D071",
                    place,
                    0,
                    0,
                    message,
                    "start a new run on the finished file",
                )
            ]
        )


def expanded(
    chunks: Iterator[bytes], place: str, compression: str, limits: ReadLimits
) -> Iterator[bytes]:
    """The decompressed bytes, never more than the limits allow.

    Args:
        compression: "gzip", "zstd" or "" for none, as declared by the file's name.

    Raises:
        BadData: FT-D060 expands too far, FT-D061 damaged or cut off, FT-D062 compressed twice.
    """
    if not compression:
        yield from chunks
        return
    decompress = {"gzip": _gunzip, "zstd": _unzstd}[compression]
    first = True
    for chunk in decompress(chunks, place, limits):
        if first and chunk.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            raise _damaged("FT-D062", place, "compressed twice", "decompress it once")
        first = False
        yield chunk


def refuse_binary(head: bytes, place: str) -> None:
    """Stop at a file that is no UTF-8 text, by its first bytes.

    Raises:
        BadData: FT-D012 wide Unicode, FT-D016 binary file, FT-D017 container or archive.
    """
    for mark, name in _WIDE_MARKS.items():
        if head.startswith(mark):
            command = f"iconv -f {name.removesuffix('LE').removesuffix('BE')} -t UTF-8"
            raise BadData(
                [
                    Problem(
                        "FT-D012",
                        place,
                        1,
                        1,
                        f"the file is {name}, not UTF-8",
                        f"convert it: {command}",
                    )
                ]
            )
    if head[257:262] == b"ustar":
        raise _damaged(
            "FT-D017",
            place,
            "a tar archive where text was expected",
            "extract it first",
        )
    for mark, name in _CONTAINERS.items():
        if head.startswith(mark):
            remedy = (
                "extract it, or give it the suffix of its type (.gz, .zst, .parquet)"
            )
            raise _damaged(
                "FT-D017", place, f"a {name} file where text was expected", remedy
            )
    for mark, name in _BINARIES.items():
        if head.startswith(mark):
            raise _damaged(
                "FT-D016",
                place,
                f"a binary file ({name})",
                "leave it out of the source",
            )


def _gunzip(chunks: Iterator[bytes], place: str, limits: ReadLimits) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    bounds = _Bounds(place, limits)
    for chunk in chunks:
        bounds.compressed += len(chunk)
        pending = chunk
        while pending:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            try:
                out = member.decompress(pending, CHUNK_BYTES)
            except zlib.error as error:
                raise _damaged(
                    "FT-D061",
                    place,
                    f"damaged gzip data ({error})",
                    "fetch the file again",
                ) from error
            bounds.admit(out)
            pending = member.unused_data if member.eof else member.unconsumed_tail
            if out:
                yield out
    while not member.eof:
        if not (out := member.flush(CHUNK_BYTES)):
            raise _damaged(
                "FT-D061",
                place,
                "the gzip data ends too early",
                "fetch the whole file again",
            )
        bounds.admit(out)
        yield out


def _unzstd(chunks: Iterator[bytes], place: str, limits: ReadLimits) -> Iterator[bytes]:
    import pyarrow as pa

    bounds = _Bounds(place, limits)
    stream = pa.CompressedInputStream(
        pa.PythonFile(_ChunkFile(chunks, bounds), mode="r"), "zstd"
    )
    while True:
        try:
            out = bytes(stream.read(CHUNK_BYTES))
        except OSError as error:
            raise _damaged(
                "FT-D061", place, f"damaged zstd data ({error})", "fetch the file again"
            ) from error
        if not out:
            return
        bounds.admit(out)
        yield out


class _Bounds:
    """Bytes in and bytes out of a decompressor."""

    def __init__(self, place: str, limits: ReadLimits) -> None:
        self._place, self._limits = place, limits
        self.compressed = 0
        self._expanded = 0

    def admit(self, out: bytes) -> None:
        self._expanded += len(out)
        ratio = self._expanded / max(1, self.compressed)
        # The first chunk of a small, very regular file is allowed any ratio.
        if self._expanded > CHUNK_BYTES and ratio > self._limits.expansion_ratio:
            finding = f"expands {ratio:,.0f} times, more than {self._limits.expansion_ratio} times"
        elif self._expanded > self._limits.expanded_bytes:
            finding = f"expands to more than {self._limits.expanded_bytes:,} bytes"
        else:
            return
        raise _damaged(
            "FT-D060", self._place, finding, "decompress it yourself if you trust it"
        )


class _ChunkFile:
    """The reading half of a file object, as pyarrow wants it, over an iterator of chunks."""

    closed = False

    def __init__(self, chunks: Iterator[bytes], bounds: _Bounds) -> None:
        self._chunks, self._bounds = chunks, bounds
        self._pending = b""

    def read(self, size: int = -1) -> bytes:
        while not self._pending:
            try:
                self._pending = next(self._chunks)
            except StopIteration:
                return b""
        size = len(self._pending) if size < 0 else size
        out, self._pending = self._pending[:size], self._pending[size:]
        self._bounds.compressed += len(out)
        return out

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _damaged(code: str, place: str, message: str, remedy: str) -> BadData:
    return BadData([Problem(code, place, 0, 0, message, remedy)])
