"""Two writers at once, in every order of their calls that matters; and proof that the checks can fail."""

import itertools
import multiprocessing
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import AliasState, history, promote, rollback
from packages.model_registry.src.catalogue import list_versions
from packages.model_registry.src.garbage import gc
from packages.model_registry.src.manifest import Manifest
from packages.model_registry.src.read import fetch, read_manifest, resolve
from packages.model_registry.src.refusals import VersionExists, VersionYanked
from packages.model_registry.src.register import (
    RegisteredVersion,
    commit,
    register,
)
from packages.model_registry.src.repair import repair
from packages.model_registry.src.verify import verify
from packages.model_registry.src.yank import yank
from packages.model_registry.tests.adapters import (
    MODEL,
    WEIGHTS,
    adapter_bytes,
    adapter_files,
    manifest_for,
    meta,
)
from packages.model_registry.tests.faults import (
    CarelessStore,
    OverwritingStore,
    count_calls,
    take_turns,
)

CALLS_OF_COMMIT = 7  # 2 blobs, manifest, 2 copies, 2 looks at the blobs


def orders(first: int, second: int) -> Iterator[list[int]]:
    """Every way to merge two sequences of calls: C(first + second, first) of them."""
    for places in itertools.combinations(range(first + second), first):
        yield [0 if place in places else 1 for place in range(first + second)]


def some_orders(count: int, calls: int, seed: int) -> Iterator[list[int]]:
    generator = random.Random(seed)
    for _ in range(count):
        order = [0] * calls + [1] * calls
        generator.shuffle(order)
        yield order


class Writer:
    """A run with files on disk and a manifest for v1.0. Its values decide its bytes."""

    def __init__(self, folder: Path, value: float, run: str) -> None:
        self.files = adapter_files(folder / run.replace("/", "-"), value)
        self.folder = folder / run.replace("/", "-")
        self.about = meta(run)
        self.manifest: Manifest = manifest_for(adapter_bytes(value), run=run)
        alone = MemoryStore()
        self.commit(alone)
        assert verify(alone, MODEL) == ()
        self.objects = alone.objects  # what the store holds if nobody interferes

    def commit(self, store: ObjectStore) -> None:
        commit(store, self.manifest, self.folder)

    def register(self, store: ObjectStore) -> RegisteredVersion:
        return register(store, MODEL, self.files, self.about)


def check_two_runs(writers: list[Writer], store: MemoryStore, order: list[int]) -> None:
    """One wins, the other is told so, and what is stored is the winner's alone."""
    results = take_turns(store, [writer.commit for writer in writers], order)
    losers = [n for n in (0, 1) if isinstance(results[n], VersionExists)]
    assert [result for result in results if result is not None] == [
        results[loser] for loser in losers
    ]
    assert len(losers) == 1
    winner = writers[1 - losers[0]]
    assert winner.manifest.lineage.run in str(results[losers[0]])
    assert store.objects == winner.objects | {
        key: data for key, data in writers[losers[0]].objects.items() if "_blobs" in key
    }


def test_of_two_runs_one_gets_the_label_whatever_the_order(tmp_path: Path) -> None:
    writers = [Writer(tmp_path, 1.0, "F/1"), Writer(tmp_path, 2.0, "F/2")]
    assert count_calls(MemoryStore(), writers[0].commit) == CALLS_OF_COMMIT
    checked = 0
    for order in orders(CALLS_OF_COMMIT, CALLS_OF_COMMIT):
        check_two_runs(writers, MemoryStore(), order)
        checked += 1
    assert checked == 3432  # C(14, 7)


def test_two_identical_runs_both_succeed_whatever_the_order(tmp_path: Path) -> None:
    same = Writer(tmp_path, 1.0, "F/1")
    for order in itertools.islice(
        orders(CALLS_OF_COMMIT, CALLS_OF_COMMIT), 0, None, 20
    ):
        store = MemoryStore()
        assert take_turns(store, [same.commit, same.commit], order) == [None, None]
        assert verify(store, MODEL) == ()
        assert len(store.objects) == 5


def test_two_runs_that_ask_for_the_next_label_get_two(tmp_path: Path) -> None:
    writers = [Writer(tmp_path, 1.0, "F/1"), Writer(tmp_path, 2.0, "F/2")]
    for order in some_orders(100, 10, seed=1):
        store = MemoryStore()
        results = take_turns(store, [w.register for w in writers], order)
        labels = {result.version for result in results}  # type: ignore[attr-defined]
        assert labels == {"v1.0", "v1.1"}
        assert verify(store, MODEL) == ()


def test_one_run_that_registers_twice_at_once_gets_one_label(tmp_path: Path) -> None:
    same = Writer(tmp_path, 1.0, "F/1")
    for order in some_orders(100, 10, seed=2):
        store = MemoryStore()
        results = take_turns(store, [same.register, same.register], order)
        assert results[0] == results[1]
        assert isinstance(results[0], RegisteredVersion)
        assert results[0].version == "v1.0"
        assert [v.version for v in list_versions(store, MODEL)] == ["v1.0"]


def with_versions(store: MemoryStore, *promoted: str) -> MemoryStore:
    for number in range(3):
        manifest = manifest_for(adapter_bytes(number), f"v1.{number}", f"F/{number}")
        store.create(f"{MODEL}/v1.{number}/manifest.json", manifest.to_bytes())
    for version in promoted:
        promote(store, MODEL, version)
    return store


def mover(version: str) -> Callable[[ObjectStore], AliasState]:
    return lambda store: promote(store, MODEL, version, operation=version, by=version)


def check_two_promotions(store: MemoryStore, order: list[int]) -> None:
    results = take_turns(store, [mover("v1.1"), mover("v1.2")], order)
    moves = history(store, MODEL)
    assert sorted(move.by for move in moves) == ["v1.1", "v1.2"]
    assert [move.generation for move in moves] == [1, 2]
    for result in results:
        assert isinstance(result, AliasState)
        assert moves[result.generation - 1].version == result.version


def test_two_promotions_are_both_recorded_whatever_the_order() -> None:
    assert count_calls(with_versions(MemoryStore()), mover("v1.1")) == 4
    for order in orders(4, 4):
        check_two_promotions(with_versions(MemoryStore()), order)


def test_a_promotion_and_a_rollback_are_both_recorded_whatever_the_order() -> None:
    start = ["v1.0", "v1.1"]
    for order in orders(5, 5):
        store = with_versions(MemoryStore(), *start)
        promoted, rolled = take_turns(
            store, [mover("v1.2"), lambda s: rollback(s, MODEL)], order
        )
        assert isinstance(promoted, AliasState)
        assert isinstance(rolled, AliasState)
        versions = [move.version for move in history(store, MODEL)]
        # Either the rollback went first, from v1.1 to v1.0, or it took back the promotion.
        assert versions in ([*start, "v1.0", "v1.2"], [*start, "v1.2", "v1.1"])


def test_no_alias_leads_to_a_yanked_version_whatever_the_order() -> None:
    for order in orders(5, 2):
        store = with_versions(MemoryStore(), "v1.0")
        take_turns(
            store, [mover("v1.1"), lambda s: yank(s, MODEL, "v1.1", "bad")], order
        )
        try:
            assert resolve(store, MODEL, "production").version == "v1.0"
        except VersionYanked:
            assert history(store, MODEL)[-1].version == "v1.1"
            assert rollback(store, MODEL).version == "v1.0"


def test_a_collection_takes_nothing_from_a_registration(tmp_path: Path) -> None:
    # The blobs are there already, left by a crash: the most dangerous case.
    writer = Writer(tmp_path, 1.0, "F/1")
    for order in some_orders(200, 10, seed=3):
        store = MemoryStore()
        for file in writer.manifest.files:
            key = f"{MODEL}/_blobs/sha256/{file.sha256}"
            store.create(key, (writer.folder / file.path).read_bytes())
        results = take_turns(
            store, [writer.commit, lambda s: gc(s, MODEL, dry_run=False)], order
        )
        assert results[0] is None
        assert verify(store, MODEL) == ()


def test_two_repairs_do_not_disturb_each_other(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 1.0, "F/1")
    for order in some_orders(60, 12, seed=4):
        store = MemoryStore()
        writer.commit(store)
        store.objects[f"{MODEL}/v1.0/{WEIGHTS}"] = b"damaged"
        for key in [key for key in store.objects if "_blobs" in key]:
            if store.objects[key] != adapter_bytes(1.0)[WEIGHTS]:
                del store.objects[key]
        take_turns(store, [lambda s: repair(s, MODEL)] * 2, order)
        assert verify(store, MODEL) == ()


def test_processes_that_register_at_once_get_labels_of_their_own(
    tmp_path: Path,
) -> None:
    count = 8
    writers = [Writer(tmp_path / "files", n, f"F/{n}") for n in range(count)]
    root = tmp_path / "registry"
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=writer.register, args=(FolderStore(root),))
        for writer in writers
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    store = FolderStore(root)
    versions = list_versions(store, MODEL)
    assert [v.version for v in versions] == [f"v1.{n}" for n in range(count)]
    assert {v.manifest.lineage.run for v in versions} == {
        f"F/{n}" for n in range(count)
    }
    assert verify(store, MODEL) == ()
    for version in versions:
        fetch(store, MODEL, version.version, tmp_path / "cache")


def test_without_create_only_writes_the_checks_fail(tmp_path: Path) -> None:
    writers = [Writer(tmp_path, 1.0, "F/1"), Writer(tmp_path, 2.0, "F/2")]
    for order in some_orders(5, CALLS_OF_COMMIT, seed=5):
        with pytest.raises(AssertionError):
            check_two_runs(writers, OverwritingStore(), order)


def test_without_compare_and_swap_the_checks_fail() -> None:
    failures = 0
    for order in orders(4, 4):
        try:
            check_two_promotions(with_versions(CarelessStore()), order)
        except AssertionError:
            failures += 1
    # By hand: of C(8, 4) = 70 orders, a move is lost unless one reads the alias (its 3rd call) after the other has
    # written it (4th): C(6, 2) = 15 orders each way. 70 - 30 = 40.
    assert failures == 40


def test_a_naive_copy_mixes_two_adapters(tmp_path: Path) -> None:
    """The plan without a manifest: put the files one by one. In 2 of 6 orders the version is of two runs."""

    def naive(value: float) -> Callable[[ObjectStore], None]:
        def put(store: ObjectStore) -> None:
            for name in ("a", "b"):
                store.create(f"{MODEL}/v1.0/{name}", f"{value}".encode())

        return put

    mixed = 0
    for order in orders(2, 2):
        store = OverwritingStore()
        take_turns(store, [naive(1.0), naive(2.0)], order)
        mixed += len(set(store.objects.values())) == 2
    assert mixed == 2


def test_the_winner_can_be_read_by_the_loser(tmp_path: Path) -> None:
    writers = [Writer(tmp_path, 1.0, "F/1"), Writer(tmp_path, 2.0, "F/2")]
    store = MemoryStore()
    writers[0].commit(store)
    with pytest.raises(VersionExists):
        writers[1].commit(store)
    assert read_manifest(store, MODEL, "v1.0") == writers[0].manifest
