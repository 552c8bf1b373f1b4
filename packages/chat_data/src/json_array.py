"""A .json file: one array of rows, read element by element in flat memory, or JSON Lines under another name."""

import json
from collections.abc import Iterator
from itertools import chain

from packages.chat_data.src.json_rows import json_row, json_rows
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData, Problem, ReadReport
from packages.chat_data.src.text_blocks import TextBlock

_SPACE = " \t\r\n"
_BOUNDARIES = json.JSONDecoder()


def json_file_rows(
    blocks: Iterator[TextBlock], place: str, report: ReadReport, limits: ReadLimits
) -> Iterator[tuple[int, dict[str, object]]]:
    """(line, row) of every good row. In an array, rows are counted in place of lines.

    Raises:
        BadData: FT-D040 the array is broken between two rows, FT-D013 it ends too early, FT-D015 a row is too long,
            FT-D044 the file is one object.
    """
    lines, blank, refused = report.lines, report.blank, report.rejected
    first = next((block for block in blocks if block.text.strip(_SPACE)), None)
    if first is None:
        return
    blocks = chain([first], blocks)
    if not first.text.lstrip(_SPACE).startswith("["):
        yield from json_rows(blocks, place, report, limits)
        return
    # Lines of an array mean nothing: what the first block counted is taken back, rows are counted instead.
    report.lines, report.blank = lines + report.rejected - refused, blank
    reader = _ArrayReader(blocks, place, report, limits)
    for number, text in reader.elements():
        report.lines += 1
        row = json_row(text, place, number, report, limits)
        if row is not None:
            yield number, row


class _ArrayReader:
    """Finds where each element begins and ends; holds one element and one block of text."""

    def __init__(
        self,
        blocks: Iterator[TextBlock],
        place: str,
        report: ReadReport,
        limits: ReadLimits,
    ) -> None:
        self._blocks, self._place = blocks, place
        self._report, self._limits = report, limits
        self._text, self._at, self._line = "", 0, 1

    def elements(self) -> Iterator[tuple[int, str]]:
        self._skip_space()
        self._take("[")
        while self._skip_space() != "]":
            line = self._line
            end = self._element_end()
            yield line, self._text[self._at : end]
            self._advance(end)
            following = self._skip_space()
            if following == ",":
                self._advance(self._at + 1)
                if self._skip_space() == "]":
                    raise self._broken("trailing comma before ]", "remove the comma")
            elif not following:
                raise self._ended()
            elif following != "]":
                raise self._broken("no comma between two rows", "put one there")
        self._take("]")
        if self._skip_space():
            raise self._broken("text behind the array", "remove it")

    def _element_end(self) -> int:
        while True:
            try:
                return _BOUNDARIES.raw_decode(self._text, self._at)[1]
            except json.JSONDecodeError as error:
                found = error
            except (RecursionError, ValueError) as error:
                message = "nested too deep, or a number with thousands of digits"
                raise self._broken(message, "fix the row", "FT-D049") from error
            if len(self._text) - self._at > self._limits.line_bytes:
                message = f"a row longer than {self._limits.line_bytes:,} bytes, or broken: {found.msg.lower()}"
                raise self._broken(message, "split or fix the row", "FT-D015")
            if not self._more():
                if (
                    found.pos >= len(self._text.rstrip(_SPACE))
                    or "Unterminated" in found.msg
                ):
                    raise self._ended()
                self._advance(found.pos)
                raise self._broken(found.msg.lower(), "write it with a JSON library")

    def _skip_space(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            rest = self._text[self._at : self._at + 1]
            if rest and rest not in _SPACE:
                return rest
            if rest:
                self._advance(self._at + 1)
            elif not self._more():
                return ""

    def _take(self, character: str) -> None:
        if self._skip_space() != character:
            raise self._ended()
        self._advance(self._at + 1)

    def _advance(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        report = self._report
        lines, blank, refused = report.lines, report.blank, report.rejected
        block = next(self._blocks, None)
        report.lines, report.blank = lines + report.rejected - refused, blank
        if block is None:
            return False
        self._text, self._at = self._text[self._at :] + block.text, 0
        if report.rejected > refused:
            raise self._broken("a line of the array was refused", "fix that line")
        return True

    def _ended(self) -> BadData:
        return self._broken(
            "the array ends too early", "fetch the whole file again", "FT-D013"
        )

    def _broken(self, message: str, remedy: str, code: str = "FT-D040") -> BadData:
        start = self._text.rfind("\n", 0, self._at) + 1
        column = len(self._text[start : self._at].encode()) + 1
        return BadData(
            [Problem(code, self._place, self._line, column, message, remedy)]
        )
