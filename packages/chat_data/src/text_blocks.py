"""Bytes to blocks of whole, clean lines: the part of the reader that has to run at gigabytes a minute.

Invariant: a block keeps the number of its lines. A refused line becomes an empty one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from packages.chat_data.src.byte_chunks import refuse_binary
from packages.chat_data.src.clean_text import TextProblem, TextRules
from packages.chat_data.src.problems import Problem, ReadReport

_BLANK_BYTES = b" \t\r\x0b\x0c"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Whole lines joined with "\\n"; the last line of a file may lack its own."""

    text: str
    first_line: int


def line_blocks(chunks: Iterator[bytes], max_line_bytes: int) -> Iterator[bytes]:
    """The same bytes, cut behind line ends. A line over the limit is cut to one byte over it."""
    carry, skipping = b"", False
    for chunk in chunks:
        if skipping:
            end = _first_line_end(chunk)
            if end < 0:
                continue
            chunk, skipping = chunk[end:], False
        data = carry + chunk if carry else chunk
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if cut:
            yield data[:cut]
        carry = data[cut:]
        if len(carry) > max_line_bytes + 1:
            carry, skipping = carry[: max_line_bytes + 1], True
    if carry:
        yield carry


def text_blocks(
    chunks: Iterator[bytes],
    place: str,
    report: ReadReport,
    max_line_bytes: int,
    rules: TextRules | None,
) -> Iterator[TextBlock]:
    """Blocks of strict UTF-8 lines; everything else is counted or refused in the report.

    Args:
        place: the file, for messages.
        rules: applied to every line; None where a parser follows that applies them to the values.

    Raises:
        BadData: the file is not text at all (FT-D012, FT-D016, FT-D017).
    """
    line = 1
    for data in line_blocks(chunks, max_line_bytes):
        if line == 1:
            refuse_binary(data[:512], place)
            if data.startswith(_BOM):
                report.notices["N102"] += 1
                data = data[len(_BOM) :]
                if not data:
                    continue
        if b"\r" in data:
            data = _with_newlines(data, report)
        array = np.frombuffer(data, np.uint8)
        ends_open = not data.endswith(b"\n")
        lines = int(np.count_nonzero(array == 0x0A)) + ends_open
        report.lines += lines
        text = _decoded(data, max_line_bytes, rules)
        if text is None:
            text = _line_by_line(data, place, line, report, max_line_bytes, rules)
        else:
            report.blank += _count_blank(data)
        yield TextBlock(text, line)
        line += lines


def _decoded(data: bytes, max_line_bytes: int, rules: TextRules | None) -> str | None:
    """The text of a block with nothing to change or refuse; None sends it through line by line."""
    if b"\x00" in data or _has_long_line(data, max_line_bytes):
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if rules and rules.needs_cleaning(text, data) else text


def _line_by_line(
    data: bytes,
    place: str,
    first_line: int,
    report: ReadReport,
    max_line_bytes: int,
    rules: TextRules | None,
) -> str:
    lines = data.split(b"\n")
    is_open = bool(lines[-1])
    if not is_open:
        lines.pop()
    kept = []
    for number, raw in enumerate(lines, start=first_line):
        last = is_open and number == first_line + len(lines) - 1
        kept.append(
            _clean_line(raw, place, number, report, max_line_bytes, rules, last)
        )
    return "\n".join(kept) + ("" if is_open else "\n")


def _clean_line(
    raw: bytes,
    place: str,
    line: int,
    report: ReadReport,
    max_line_bytes: int,
    rules: TextRules | None,
    last: bool,
) -> str:
    if not raw.strip(_BLANK_BYTES):
        report.blank += 1
        return raw.decode().replace("\x0b", " ").replace("\x0c", " ")
    if len(raw) > max_line_bytes:
        message = f"line longer than {max_line_bytes:,} bytes"
        report.reject_line(
            Problem(
                "FT-D015", place, line, 0, message, "split it into lines or paragraphs"
            )
        )
        return ""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        report.reject_line(_invalid_utf8(error, place, line, last))
        return ""
    if "\x00" in text and rules is None:
        report.reject_line(
            Problem(
                "FT-D014",
                place,
                line,
                raw.index(b"\x00") + 1,
                "NUL byte",
                "is this a binary file?",
            )
        )
        return ""
    if rules is None or not rules.needs_cleaning(text, raw):
        return text
    cleaned = rules.clean(text, report.count_notice)
    if isinstance(cleaned, TextProblem):
        column = len(text[: cleaned.offset].encode()) + 1
        report.reject_line(
            Problem(cleaned.code, place, line, column, cleaned.message, cleaned.remedy)
        )
        return ""
    return cleaned


def _invalid_utf8(
    error: UnicodeDecodeError, place: str, line: int, last: bool
) -> Problem:
    raw, column = error.object, error.start + 1
    byte = raw[error.start]
    if last and error.reason == "unexpected end of data":
        return Problem(
            "FT-D013",
            place,
            line,
            column,
            "the file ends inside a character: cut off?",
            "fetch the whole file again",
        )
    if byte in (0xC0, 0xC1):
        guess = "an overlong form that no correct program writes"
    elif byte == 0xED:
        guess = "half of a surrogate pair (CESU-8)"
    else:
        guess = (
            "looks like windows-1252" if 0x80 <= byte < 0xA0 else "looks like latin-1"
        )
    encoding = "windows-1252" if "1252" in guess else "latin1"
    remedy = (
        f"iconv -f {encoding} -t utf-8"
        if "like" in guess
        else "export the file again as UTF-8"
    )
    return Problem(
        "FT-D012",
        place,
        line,
        column,
        f"invalid UTF-8 (byte 0x{byte:02X}); {guess}",
        remedy,
    )


def _with_newlines(data: bytes, report: ReadReport) -> bytes:
    pairs = data.count(b"\r\n")
    report.crlf += pairs
    data = data.replace(b"\r\n", b"\n")
    if lone := data.count(b"\r"):
        report.notices["N101"] += lone
        data = data.replace(b"\r", b"\n")
    return data


def _count_blank(data: bytes) -> int:
    bare = np.frombuffer(data.translate(None, _BLANK_BYTES), np.uint8)
    ends = bare == 0x0A
    blank = int(np.count_nonzero(ends[1:] & ends[:-1])) + int(
        bool(ends.size and ends[0])
    )
    # An open last line of nothing but white space.
    return blank + int(not data.endswith(b"\n") and (not bare.size or bool(ends[-1])))


def _has_long_line(data: bytes, limit: int) -> bool:
    position = 0
    while position + limit < len(data):
        end = data.rfind(b"\n", position, position + limit + 1)
        if end < 0:
            return True
        position = end + 1
    return False


def _first_line_end(chunk: bytes) -> int:
    ends = [end for end in (chunk.find(b"\n"), chunk.find(b"\r")) if end >= 0]
    return min(ends, default=-1)
