"""JSON Lines, strictly: one object per line, refused with the byte it went wrong at."""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData, Problem, ReadReport, shown
from packages.chat_data.src.text_blocks import TextBlock

_BRACKETS_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class _Refused(Exception):
    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


def json_rows(
    blocks: Iterator[TextBlock], place: str, report: ReadReport, limits: ReadLimits
) -> Iterator[tuple[int, dict[str, object]]]:
    """(line, row) of every good line; the others are refused in the report.

    Raises:
        BadData: FT-D044, the file is one JSON value spread over lines, not one object per line.
    """
    seen_row = False
    for block in blocks:
        lines = block.text.split("\n")
        for number, line in enumerate(lines, start=block.first_line):
            if not line or line.isspace():
                continue
            if not seen_row:
                _refuse_whole_json(line, place, number)
                seen_row = True
            cut_off = number == block.first_line + len(lines) - 1
            row = json_row(line, place, number, report, limits, cut_off=cut_off)
            if row is not None:
                yield number, row


def _refuse_whole_json(line: str, place: str, number: int) -> None:
    start = line.strip()
    what = (
        "a JSON array"
        if start.startswith("[")
        else "one object over several lines" if start == "{" else ""
    )
    if what:
        convert = 'convert it: python -c "import json, sys; [print(json.dumps(r)) for r in json.load(sys.stdin)]"'
        remedy = (
            convert
            if start.startswith("[")
            else "write one object per line, e.g. with jq -c ."
        )
        raise BadData(
            [
                Problem(
                    "FT-D044",
                    place,
                    number,
                    1,
                    f"this is {what}, expected one object per line",
                    remedy,
                )
            ]
        )


def json_row(
    line: str,
    place: str,
    number: int,
    report: ReadReport,
    limits: ReadLimits,
    *,
    cut_off: bool = False,
) -> dict[str, object] | None:
    """The object in `line`; None if it was refused.

    Args:
        cut_off: nothing follows, not even a line end: an incomplete row is then a truncated file.
    """
    try:
        _check_depth(line, limits.json_depth)
        value = _DECODER.decode(line)
        if not isinstance(value, dict):
            raise _Refused(
                "D048",
                f"the row is {_json_type(value)}, expected an object",
                'write {"text": ...}',
            )
        if len(value) > limits.keys_per_row:
            raise _Refused(
                "D049",
                f"{len(value):,} keys, more than {limits.keys_per_row}",
                "drop unused keys",
            )
        return value
    except json.JSONDecodeError as error:
        column = len(line[: error.pos].encode()) + 1
        ended = error.pos >= len(line.rstrip()) or "Unterminated" in error.msg
        if cut_off and ended:
            message, remedy = (
                "the last row is truncated (no final newline)",
                "fetch the whole file again",
            )
            report.reject_line(
                Problem("FT-D013", place, number, column, message, remedy)
            )
        else:
            message, remedy = _explained(error, line)
            report.reject_line(
                Problem("FT-D040", place, number, column, message, remedy)
            )
    except _Refused as error:
        report.reject_line(
            Problem(f"FT-{error.code}", place, number, 0, error.message, error.remedy)
        )
    except ValueError:
        # int() refuses more digits than any number has.
        report.reject_line(
            Problem(
                "FT-D040",
                place,
                number,
                0,
                "a number with thousands of digits",
                "fix the row",
            )
        )
    return None


def _explained(error: json.JSONDecodeError, line: str) -> tuple[str, str]:
    at, before = line[error.pos : error.pos + 1], line[: error.pos].rstrip()
    if error.msg.startswith("Extra data"):
        return "two JSON values on one line", "put each object on its own line"
    if error.msg.startswith(("Invalid control", "Unterminated")):
        return (
            f"malformed JSON: {error.msg.lower()}",
            "is there an unescaped newline in a string? write \\n",
        )
    if at == "'":
        return (
            "malformed JSON: single quotes",
            "is this a Python repr? write it with json.dumps",
        )
    if at in ("}", "]") and before.endswith(","):
        return "malformed JSON: trailing comma", "remove the comma"
    return f"malformed JSON: {error.msg.lower()}", "write the row with a JSON library"


def _check_depth(line: str, limit: int) -> None:
    if line.count("[") + line.count("{") <= limit:
        return
    depth = 0
    for found in _BRACKETS_OUTSIDE_STRINGS.finditer(line):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
        if depth > limit:
            raise _Refused("D049", f"nested deeper than {limit}", "flatten the row")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(
            "D045",
            f"the key {shown(repr(twice), 40)} is there twice",
            "keep one of them",
        )
    return row


def _no_constant(name: str) -> NoReturn:
    raise _Refused("D046", f"{name} is not JSON", "write null or a number")


def _json_type(value: object) -> str:
    names = {str: "a string", list: "an array", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant)
