"""Moving an alias: nothing lost, nothing done twice, everything recorded."""

import json
from datetime import timedelta

import pytest

from packages.cloud.src.exit_codes import EX_TEMPFAIL, EX_USAGE, UserError
from packages.cloud.src.memory_store import FIRST_WRITE, MemoryStore
from packages.cloud.src.object_store import ObjectChanged, ObjectStore
from packages.model_registry.src.aliases import history, promote, rollback
from packages.model_registry.src.read import resolve
from packages.model_registry.src.refusals import (
    AliasMissing,
    VersionMissing,
    VersionYanked,
)
from packages.model_registry.src.yank import aliases_of, yank
from packages.model_registry.tests.adapters import MODEL, adapter_bytes, manifest_for

VERSIONS = ("v1.0", "v1.1", "v1.2", "v2.0")


def with_versions(store: ObjectStore) -> ObjectStore:
    """Manifests are enough to promote; the blobs are not read."""
    for number, version in enumerate(VERSIONS):
        manifest = manifest_for(adapter_bytes(number), version, f"F/{number}")
        store.create(f"{MODEL}/{version}/manifest.json", manifest.to_bytes())
    return store


@pytest.fixture
def memory() -> MemoryStore:
    store = MemoryStore()
    with_versions(store)
    return store


def moves(store: ObjectStore, alias: str = "production") -> list[tuple[int, str, str]]:
    return [
        (entry.generation, entry.kind, entry.version)
        for entry in history(store, MODEL, alias)
    ]


def test_promote_and_rollback_are_recorded(store: ObjectStore) -> None:
    with_versions(store)
    first = promote(store, MODEL, "v1.0", by="ada")
    assert (first.generation, first.version, first.former_version) == (1, "v1.0", None)
    second = promote(store, MODEL, "v1.1", by="bob")
    assert (second.generation, second.former_version) == (2, "v1.0")
    third = rollback(store, MODEL, by="eve")
    assert (third.generation, third.version, third.former_version) == (
        3,
        "v1.0",
        "v1.1",
    )
    assert resolve(store, MODEL, "production").version == "v1.0"
    assert moves(store) == [
        (1, "promote", "v1.0"),
        (2, "promote", "v1.1"),
        (3, "rollback", "v1.0"),
    ]
    assert [entry.by for entry in history(store, MODEL)] == ["ada", "bob", "eve"]


def test_the_times_are_those_of_the_store(memory: MemoryStore) -> None:
    # The fake's clock counts writes: four manifests, then three moves.
    promote(memory, MODEL, "v1.0")
    promote(memory, MODEL, "v1.1")
    promote(memory, MODEL, "v1.2")
    times = [entry.at for entry in history(memory, MODEL)]
    assert times == [FIRST_WRITE + timedelta(seconds=n) for n in (5, 6, 7)]


def test_promoting_what_stands_writes_nothing(store: ObjectStore) -> None:
    with_versions(store)
    promote(store, MODEL, "v1.0")
    again = promote(store, MODEL, "v1.0")
    assert (again.generation, again.former_version) == (1, "v1.0")
    assert moves(store) == [(1, "promote", "v1.0")]


def test_a_repeated_operation_changes_nothing_more(store: ObjectStore) -> None:
    with_versions(store)
    promote(store, MODEL, "v1.0")
    promote(store, MODEL, "v1.1", operation="deploy-7")
    promote(store, MODEL, "v1.2")
    late = promote(store, MODEL, "v1.1", operation="deploy-7")
    assert late.version == "v1.2"
    assert late.former_version == "v1.0"
    rollback(store, MODEL, operation="undo-1")
    assert rollback(store, MODEL, operation="undo-1").version == "v1.1"
    assert len(moves(store)) == 4


def test_aliases_are_separate(store: ObjectStore) -> None:
    with_versions(store)
    promote(store, MODEL, "v1.0")
    promote(store, MODEL, "v1.1", "staging")
    assert resolve(store, MODEL, "production").version == "v1.0"
    assert aliases_of(store, MODEL, "v1.1") == ("staging",)
    assert aliases_of(store, MODEL, "v1.2") == ()


# promote p, rollback r; the version that stands afterwards, or None where a rollback has nothing to go back to.
@pytest.mark.parametrize(
    ("steps", "stands"),
    [
        (["v1.0", "v1.1", "r"], "v1.0"),
        (["v1.0", "v1.1", "v1.2", "r", "r"], "v1.0"),
        (["v1.0", "v1.1", "r", "v1.2", "r"], "v1.0"),
        (["v1.0", "v1.1", "v1.0", "r"], "v1.1"),
        (["v1.0", "v1.1", "v1.0", "r", "r"], "v1.0"),
        (["v1.0", "v1.1", "r", "v1.1", "r"], "v1.0"),
        (["v1.0", "r"], None),
        (["v1.0", "v1.1", "r", "r"], None),
    ],
)
def test_rollback_goes_back_through_what_stood(
    memory: MemoryStore, steps: list[str], stands: str | None
) -> None:
    def take(step: str) -> None:
        rollback(memory, MODEL) if step == "r" else promote(memory, MODEL, step)

    for step in steps[:-1]:
        take(step)
    if stands is None:
        with pytest.raises(UserError, match="no former version") as refusal:
            take(steps[-1])
        assert refusal.value.exit_code == EX_USAGE
    else:
        take(steps[-1])
        assert resolve(memory, MODEL, "production").version == stands


def test_rollback_passes_over_what_was_yanked(memory: MemoryStore) -> None:
    for version in ("v1.0", "v1.1", "v1.2"):
        promote(memory, MODEL, version)
    yank(memory, MODEL, "v1.1", "bad")
    assert rollback(memory, MODEL).version == "v1.0"
    with pytest.raises(VersionYanked, match="Promote another"):
        promote(memory, MODEL, "v1.1")


def test_what_cannot_be_moved_says_why(memory: MemoryStore) -> None:
    with pytest.raises(AliasMissing):
        rollback(memory, MODEL)
    with pytest.raises(AliasMissing):
        history(memory, MODEL)
    with pytest.raises(VersionMissing):
        promote(memory, MODEL, "v9.9")
    for version in ("production", "1.0"):
        with pytest.raises(UserError, match="is no version"):
            promote(memory, MODEL, version)
    with pytest.raises(UserError, match="is no name for an alias"):
        promote(memory, MODEL, "v1.0", "v1.1")
    assert not [key for key in memory.objects if "_aliases" in key]


def test_an_alias_that_never_holds_still_is_given_up(memory: MemoryStore) -> None:
    class Busy(MemoryStore):
        def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
            raise ObjectChanged(key)

    busy = Busy()
    with_versions(busy)
    with pytest.raises(UserError, match="100 times in a row") as refusal:
        promote(busy, MODEL, "v1.0")
    assert refusal.value.exit_code == EX_TEMPFAIL


def test_a_rewritten_history_is_refused(memory: MemoryStore) -> None:
    promote(memory, MODEL, "v1.0")
    promote(memory, MODEL, "v1.1")
    key = f"{MODEL}/_aliases/production.json"
    tree = json.loads(memory.objects[key])
    del tree["history"][0]
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    memory.objects[key] = text.encode()
    with pytest.raises(UserError, match="generations are not 1, 2, 3"):
        resolve(memory, MODEL, "production")
