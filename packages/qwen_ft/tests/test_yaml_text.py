"""YAML is read by version 1.2, with the line of every key; nothing in it is executed."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packages.qwen_ft.src.yaml_text import read_scalar, read_yaml

# Written from the tables of the core schema, YAML 1.2.2, section 10.3.2.
SCALARS = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "False": False,
    "0": 0,
    "-12": -12,
    "0o14": 12,
    "0xC": 12,
    "1e-4": 1e-4,
    "1.": 1.0,
    "+.5": 0.5,
    "12e03": 12e3,
    "-.inf": -math.inf,
    "yes": "yes",
    "on": "on",
    "0b1": "0b1",
    "010": "010",
    "1:30": "1:30",
    "1_000": "1_000",
    "2024-01-01": "2024-01-01",
    "060db6499f32faf8b98477b0a26969ef7d8b9987": "060db6499f32faf8b98477b0a26969ef7d8b9987",
    "1" * 40: "1" * 40,
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


def test_quotes_make_text() -> None:
    assert read_yaml("a: '1'\nb: \"true\"\nc: |\n  3").value == {
        "a": "1",
        "b": "true",
        "c": "3",
    }


def test_every_key_and_entry_knows_its_line() -> None:
    lines = read_yaml("a:\n  b: 1\n\n  c:\n    - x\n    - y: 2\n").lines
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "c")] == 4
    assert lines[("a", "c", 0)] == 5
    assert lines[("a", "c", 1, "y")] == 6


def test_an_alias_stands_for_its_anchor() -> None:
    assert read_yaml("a: &x [1, 2]\nb: *x").value == {"a": [1, 2], "b": [1, 2]}


def test_a_recursive_alias_is_refused() -> None:
    parsed = read_yaml("a: &x [*x]")
    assert "nested too deep" in parsed.problems[0].found


def test_the_problems_of_a_text_are_all_collected() -> None:
    parsed = read_yaml("a: !!python/name:os.system x\nb: 1\nb: 2\n? [c]\n: 3")
    assert [problem.line for problem in parsed.problems] == [1, 3, 4]
    assert parsed.value == {"a": None, "b": 1}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.text("ab \n:#-*&é"),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
        max_leaves=20,
    )
)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    parsed = read_yaml(yaml.safe_dump(value))
    assert not parsed.problems
    assert parsed.value == value


@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    read_yaml(text)
