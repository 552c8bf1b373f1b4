"""One JSON text per value, so that equal values have equal hashes; and a reader that refuses every trick."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 32


def canonical_json(value: Any) -> bytes:
    """Keys sorted, no white space, ASCII only.

    Raises:
        ValueError: NaN or infinity inside, which JSON does not have.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def json_sha256(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of a value: the hash of a configuration."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def strict_json(data: bytes, max_bytes: int) -> Any:
    """Parse JSON that somebody else may have written.

    Raises:
        ValueError: too large, no JSON, a key given twice, NaN or infinity, or nested deeper than 32.
    """
    if len(data) > max_bytes:
        raise ValueError(f"it has {len(data):,} bytes, at most {max_bytes:,} expected")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_key_twice,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}") from error
    _check_depth(value)
    return value


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"the key {twice[0][:100]!r} is there twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level, depth = inner, depth + 1
