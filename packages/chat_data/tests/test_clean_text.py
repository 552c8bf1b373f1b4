from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.clean_text import TextProblem, TextRules
from packages.chat_data.src.limits import ReadOptions

RULES = TextRules(ReadOptions())
LETTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from(
    list("\x00\x01\r\n\x0b\u202e\u200b\ufeff\ufffd\u0301\u212be<|")
)
TEXTS = st.lists(LETTERS, max_size=40).map("".join)
PROPERTY = settings(derandomize=True, max_examples=500, deadline=None)


def clean(text):
    return RULES.clean(text, lambda code, times: None)


@PROPERTY
@given(TEXTS)
def test_cleaning_twice_changes_nothing(text):
    once = clean(text)
    if isinstance(once, str):
        assert clean(once) == once


@PROPERTY
@given(TEXTS)
def test_text_that_needs_no_cleaning_is_not_changed_by_it(text):
    if not RULES.needs_cleaning(text, text.encode()):
        assert clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "\u212b",
        "\u2126",
        "\u2000",
        "\u2329",
        "\u2adc",
        "e\u0301",
        "\u0344",
        "\uf900",
        "\U0002f800",
    ],
)
def test_characters_that_are_not_nfc_are_found(text):
    # Singletons, exclusions and combining marks from the tables of Unicode Standard Annex 15.
    assert RULES.needs_cleaning(text, text.encode())


def test_changes_are_counted_by_code():
    counts = Counter()
    RULES.clean(
        "a\rb\r\n\x07\x0b\u202e\u200b\ufffde\u0301",
        lambda code, times: counts.update({code: times}),
    )
    assert counts == {"N101": 1, "N103": 2, "N104": 1, "N105": 2, "N106": 1}


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "key AKIA" + "Z2Y4X6W8" * 2 + ".",
    ],
)
def test_secrets_are_refused(text):
    problem = clean(text)
    assert isinstance(problem, TextProblem)
    assert problem.code == "FT-D092"


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----",
        "AKIAIOSFODNN7EXAMPLE",
        "AKIA",
        "xAKIA" + "Z2Y4X6W8" * 2,
    ],
)
def test_what_only_looks_like_a_secret_passes(text):
    assert clean(text) == text
