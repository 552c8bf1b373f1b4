"""What is wrong with input data: one stable code and one place per problem, collected and counted."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from packages.cloud.src.exit_codes import EX_DATAERR, UserError

MAX_LISTED = 20

NOTICES = {
    "N101": "lone carriage returns read as line ends",
    "N102": "byte order marks removed",
    "N103": "control characters removed",
    "N104": "replacement characters U+FFFD kept: an earlier program lost these letters",
    "N105": "zero-width characters kept, bidirectional controls removed",
    "N106": "texts brought to Unicode NFC",
    "N110": "keys of rows ignored",
    "N111": "empty files skipped",
    "N120": "documents longer than max_tokens",
    "N121": "windows without a scored token left out",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse a row or a file.

    Args:
        code: FT-Dnnn, stable across releases.
        place: the file, as the user named it.
        line: counted from 1; 0 where the whole file is meant.
        column: byte in the line, counted from 1; 0 where the whole line is meant.
        message: what was found.
        remedy: what to do.
    """

    code: str
    place: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        position = "".join(
            f":{number}" for number in (self.line, self.column) if number
        )
        return f"{self.code} {shown(self.place)}{position}  {self.message} -> {self.remedy}"


class BadData(UserError):
    """Rows or files that cannot be used. `problems` holds the listed ones, `found` counts all of them."""

    def __init__(self, problems: Iterable[Problem], found: int | None = None) -> None:
        self.problems = tuple(problems)
        self.found = len(self.problems) if found is None else found
        lines = [str(problem) for problem in self.problems]
        if self.found > len(lines):
            lines.append(f"... and {self.found - len(lines):,} more like these.")
        super().__init__("\n".join(lines), EX_DATAERR)

    def __reduce__(self) -> tuple[type["BadData"], tuple[tuple[Problem, ...], int]]:  # type: ignore[override]
        return (type(self), (self.problems, self.found))


@dataclass
class ReadReport:
    """Counts of one pass over a source. Invariant: accepted + rejected + blank == lines.

    Args:
        quarantine: rejected rows go here as JSON lines; None stops at the end of the pass instead.
        max_bad_fraction: share of rejected lines that a quarantining run still accepts.
    """

    quarantine: TextIO | None = None
    max_bad_fraction: float = 0.01
    lines: int = 0
    blank: int = 0
    rejected: int = 0
    documents: int = 0
    characters: int = 0
    crlf: int = 0
    notices: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    format_reason: str = ""

    @property
    def accepted(self) -> int:
        """Lines (rows of a table) that became part of a document."""
        return self.lines - self.blank - self.rejected

    @property
    def stopping(self) -> bool:
        """A problem was found and the policy is to fail: documents are no longer wanted."""
        return self.quarantine is None and self.rejected > 0

    @property
    def full(self) -> bool:
        """As many problems as are ever listed were found, and the policy is to fail."""
        return self.stopping and len(self.problems) >= MAX_LISTED

    def count_notice(self, code: str, times: int) -> None:
        """Add to the changes and oddities that stop nothing."""
        self.notices[code] += times

    def reject_line(self, problem: Problem) -> None:
        """Count a refused line that is already among `lines`."""
        self.rejected += 1
        self.reasons[problem.code] += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(problem)
        if self.quarantine is not None:
            entry = {
                "code": problem.code,
                "file": problem.place,
                "line": problem.line,
                "column": problem.column,
                "message": problem.message,
            }
            self.quarantine.write(json.dumps(entry) + "\n")

    def reject_file(self, problem: Problem) -> None:
        """Count a file that cannot be read further, as one refused line."""
        self.lines += 1
        self.reject_line(problem)

    def raise_if_bad(self) -> None:
        """Stop the run if the policy says so.

        Raises:
            BadData: something was rejected and the policy is to fail, or more was rejected than is allowed.
        """
        if not self.rejected:
            return
        allowed = self.max_bad_fraction * max(1, self.lines - self.blank)
        if self.quarantine is None or self.rejected > allowed:
            raise BadData(self.problems, self.rejected)


def shown(text: str, limit: int = 200) -> str:
    """`text` safe for a terminal: unprintable characters escaped, long text cut."""
    cut = text if len(text) <= limit else text[: limit - 1] + "\u2026"
    return cut if cut.isprintable() else ascii(cut)
