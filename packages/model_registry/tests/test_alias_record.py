"""What a rollback leads to, worked by hand, and which records are refused."""

import json
from datetime import UTC, datetime

import pytest

from packages.model_registry.src.alias_record import AliasRecord, Move, parsed_alias
from packages.model_registry.src.refusals import RegistryDamaged


def record(*steps: str) -> AliasRecord:
    """Steps such as `+v1.0` for a promotion and `-v1.0` for a rollback to v1.0."""
    moves = tuple(
        Move(
            generation=number,
            kind="promote" if step[0] == "+" else "rollback",
            version=step[1:],
            manifest_sha256="0" * 64,
            operation=str(number),
            by="ada",
            at=None,
        )
        for number, step in enumerate(steps, 1)
    )
    return AliasRecord(schema_version=1, model="m", alias="production", history=moves)


@pytest.mark.parametrize(
    ("steps", "former"),
    [
        (["+v1.0"], []),
        (["+v1.0", "+v1.1", "+v1.2"], ["v1.1", "v1.0"]),
        (["+v1.0", "+v1.1", "-v1.0"], []),
        (["+v1.0", "+v1.1", "+v1.2", "-v1.0"], []),
        (["+v1.0", "+v1.1", "+v1.2", "-v1.1"], ["v1.0"]),
        (["+v1.0", "+v1.1", "+v1.0"], ["v1.1", "v1.0"]),
        (["+v1.0", "+v1.1", "+v1.0", "-v1.1"], ["v1.0"]),
        (["+v1.0", "+v1.1", "-v1.0", "+v1.2"], ["v1.0"]),
    ],
)
def test_what_stood_before_worked_by_hand(steps: list[str], former: list[str]) -> None:
    assert [move.version for move in record(*steps).former()] == former


def test_a_move_dates_the_one_before() -> None:
    since = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    moved = record("+v1.0").moved(record("+v1.0", "+v1.1").current, since)
    assert [move.at for move in moved.history] == ["2026-11-21T09:30:00+00:00", None]
    assert parsed_alias(moved.to_bytes(), "m", "production") == moved


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "other"}, "belongs to other"),
        ({"alias": "staging"}, "belongs to m staging"),
        ({"schema_version": 2}, "schema_version"),
        ({"history": []}, "history"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_a_record_that_is_not_this_alias_is_refused(
    change: dict[str, object], reason: str
) -> None:
    tree = json.loads(record("+v1.0").to_bytes()) | change
    text = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(RegistryDamaged, match=reason):
        parsed_alias(text, "m", "production")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("generation", 2),
        ("version", "latest"),
        ("manifest_sha256", "ab"),
        ("kind", "delete"),
        ("by", None),
    ],
)
def test_a_move_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    tree = json.loads(record("+v1.0").to_bytes())
    tree["history"][0][field] = value
    text = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(RegistryDamaged):
        parsed_alias(text, "m", "production")
