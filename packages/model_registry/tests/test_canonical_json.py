"""One text per value, and a reader that refuses tricks."""

import hashlib

import pytest

from packages.model_registry.src.canonical_json import (
    canonical_json,
    json_sha256,
    strict_json,
)


def test_the_text_worked_by_hand() -> None:
    value = {"b": [1, 2.5, True, None], "a": {"é": "x y"}}
    text = b'{"a":{"\\u00e9":"x y"},"b":[1,2.5,true,null]}'
    assert canonical_json(value) == text
    assert json_sha256(value) == hashlib.sha256(text).hexdigest()
    assert strict_json(text, 1000) == value


def test_the_order_of_keys_does_not_matter() -> None:
    assert json_sha256({"a": 1, "b": 2}) == json_sha256({"b": 2, "a": 1})


def test_nan_has_no_text() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a":1,"a":2}', "'a' is there twice"),
        (b'{"x":{"a":1,"a":1}}', "'a' is there twice"),
        (b'{"a":NaN}', "NaN is no JSON number"),
        (b'{"a":-Infinity}', "-Infinity is no JSON number"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32"),
        (b"[" * 100_000, "nested deeper than 32"),
        (b"9" * 5000, "digits"),
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        (b'"' + b"a" * 20_000 + b'"', "20,002 bytes, at most 10,000"),
    ],
)
def test_hostile_json_is_refused(data: bytes, reason: str) -> None:
    limit = 200_000 if data[:1] == b"[" else 10_000
    with pytest.raises(ValueError, match=reason):
        strict_json(data, limit)


def test_32_levels_are_enough_for_anybody() -> None:
    assert strict_json(b"[" * 32 + b"]" * 32, 1000) is not None
