"""docs/reference/specification.md: every row once, the counts as counted, every file and test it names there."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "specification.md"
ROWS_OF_DOCUMENTS = (49, 71, 60, 42, 39)
STATES = ("done", "partly", "not yet")
ROW = re.compile(
    r"^\| (\d\.\d\d) \| ([^|]+) \| (done|partly|not yet) \| ([^|]+) \| ([^|]+) \|$",
    re.MULTILINE,
)
COUNT = re.compile(
    r"^\| (\d{3}|all) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE
)
LINK = re.compile(r"\]\(([^)#]+)\)(?:`::(\w+)`)?")


def rows() -> list[tuple[str, str, str, str, str]]:
    """(number, name, state, where, what shows it) of each row."""
    return ROW.findall(PAGE.read_text(encoding="utf-8"))


def links() -> list[tuple[Path, str]]:
    """(file, name of a test in it or nothing) of each link."""
    found = LINK.findall(PAGE.read_text(encoding="utf-8"))
    return [((PAGE.parent / path).resolve(), test) for path, test in found]


def is_hidden_here(path: Path) -> bool:
    """Pants shows no folder that begins with a dot to a test; outside of Pants they are looked at."""
    first = path.relative_to(ROOT).parts[0]
    return first.startswith(".") and not (ROOT / first).exists()


def test_every_row_of_the_five_documents_is_there_once_and_in_order():
    wanted = [
        f"{document}.{row:02d}"
        for document, count in enumerate(ROWS_OF_DOCUMENTS)
        for row in range(1, count + 1)
    ]

    assert len(wanted) == 261
    assert [row[0] for row in rows()] == wanted


def test_the_counts_are_those_of_the_rows():
    states = Counter((row[0][0], row[2]) for row in rows())
    counted = [
        [f"00{document}", count, *(states[str(document), state] for state in STATES)]
        for document, count in enumerate(ROWS_OF_DOCUMENTS)
    ]
    totals = [sum(column) for column in zip(*(row[1:] for row in counted), strict=True)]
    counted.append(["all", *totals])
    written = COUNT.findall(PAGE.read_text(encoding="utf-8"))

    assert [[name, *map(int, numbers)] for name, *numbers in written] == counted


def test_every_linked_file_exists():
    missing = [
        path for path, _ in links() if not path.exists() and not is_hidden_here(path)
    ]

    assert len(links()) > 300
    assert missing == []


def test_every_named_test_exists():
    named = [(path, test) for path, test in links() if test]
    missing = [
        f"{path.name}::{test}"
        for path, test in named
        if not re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE)
    ]

    assert len(named) > 150
    assert missing == []


@pytest.mark.parametrize("state", STATES)
def test_a_row_shows_what_its_state_claims(state):
    for number, _, found, where, shown in rows():
        if found != state:
            continue
        if state == "done":
            assert where != "–" and ("](" in shown or "`./" in shown), number
            assert "Missing" not in shown, number
        if state == "partly":
            assert where != "–" and len(shown) > 20, number
        if state == "not yet":
            assert where == "–" and shown, number
