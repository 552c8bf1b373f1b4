"""Any sequence of registrations, crashes, moves, yanks, collections and repairs against a model of what must hold."""

import hashlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import history, promote, rollback
from packages.model_registry.src.garbage import gc
from packages.model_registry.src.layout import listed_labels
from packages.model_registry.src.manifest import Manifest
from packages.model_registry.src.read import read_manifest, resolve
from packages.model_registry.src.refusals import (
    AliasMissing,
    VersionExists,
    VersionMissing,
    VersionYanked,
)
from packages.model_registry.src.register import commit
from packages.model_registry.src.repair import repair
from packages.model_registry.src.verify import verify
from packages.model_registry.src.yank import yank
from packages.model_registry.tests.adapters import (
    MODEL,
    adapter_bytes,
    manifest_for,
)
from packages.model_registry.tests.faults import Crash, crashing

RUNS = st.integers(0, 3)
LABELS = st.sampled_from(["v1.0", "v1.1", "v2.0"])
WHEN = st.sampled_from(["before", "after"])


class AnyHistory(RuleBasedStateMachine):
    """The model: who owns each label, what is yanked, and every version `production` has stood for."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.owners: dict[str, bytes] = {}
        self.yanked: set[str] = set()
        self.moves: list[tuple[str, str]] = []
        self.crashed = False
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    def files(self, run: int) -> tuple[Manifest, Path]:
        folder = Path(self.folder.name, str(run))
        folder.mkdir(exist_ok=True)
        for name, data in adapter_bytes(float(run)).items():
            (folder / name).write_bytes(data)
        return manifest_for(adapter_bytes(float(run)), run=f"F/{run}"), folder

    def register(self, store: ObjectStore, run: int, label: str) -> None:
        manifest, folder = self.files(run)
        manifest = manifest.model_copy(update={"version": label})
        owner = self.owners.get(label)
        try:
            commit(store, manifest, folder)
        except VersionExists:
            assert owner not in (None, manifest.to_bytes())
            return
        finally:
            if owner is None and self.store.exists(f"{MODEL}/{label}/manifest.json"):
                self.owners[label] = manifest.to_bytes()
        assert owner in (None, manifest.to_bytes())

    @rule(run=RUNS, label=LABELS)
    def registers(self, run: int, label: str) -> None:
        self.register(self.store, run, label)

    @rule(run=RUNS, label=LABELS, when=WHEN, call=st.integers(1, 7))
    def registers_and_crashes(self, run: int, label: str, when: str, call: int) -> None:
        try:
            self.register(crashing(self.store, when, call), run, label)
        except Crash:
            self.crashed = True

    @rule(label=LABELS, when=WHEN, call=st.integers(1, 9), number=st.integers(0, 9))
    def promotes(self, label: str, when: str, call: int, number: int) -> None:
        """A crash in some cases, then the same operation again, as a flow does."""
        operation = f"{len(self.moves)}-{number}"
        for store in (crashing(self.store, when, call), self.store):
            try:
                promote(store, MODEL, label, operation=operation)
            except Crash:
                continue
            except VersionMissing:
                assert label not in self.owners
                return
            except VersionYanked:
                assert label in self.yanked
                return
        if not self.moves or self.moves[-1][1] != label:
            self.moves.append(("promote", label))

    @rule()
    def rolls_back(self) -> None:
        try:
            version = rollback(self.store, MODEL).version
        except AliasMissing:
            assert not self.moves
        except UserError:
            assert self.moves
        else:
            assert version not in self.yanked
            assert version in {label for _, label in self.moves[:-1]}
            self.moves.append(("rollback", version))

    @rule(label=LABELS)
    def yanks(self, label: str) -> None:
        try:
            yank(self.store, MODEL, label, "bad")
            self.yanked.add(label)
        except VersionMissing:
            assert label not in self.owners

    @rule()
    def collects(self) -> None:
        gc(self.store, MODEL, dry_run=False)

    @rule()
    def repairs(self) -> None:
        repair(self.store, MODEL)
        self.crashed = False
        assert verify(self.store, MODEL) == ()

    @invariant()
    def a_label_keeps_its_first_owner(self) -> None:
        assert {str(x) for x in listed_labels(self.store, MODEL)} == set(self.owners)
        for label, manifest in self.owners.items():
            assert read_manifest(self.store, MODEL, label).to_bytes() == manifest

    @invariant()
    def every_version_has_its_blobs(self) -> None:
        for label in self.owners:
            for file in read_manifest(self.store, MODEL, label).files:
                data = self.store.read(f"{MODEL}/_blobs/sha256/{file.sha256}")
                assert hashlib.sha256(data).hexdigest() == file.sha256

    @invariant()
    def no_move_is_lost(self) -> None:
        if self.moves:
            found = [(m.kind, m.version) for m in history(self.store, MODEL)]
            assert found == self.moves

    @invariant()
    def production_is_what_was_moved_last(self) -> None:
        try:
            found = resolve(self.store, MODEL, "production").version
        except AliasMissing:
            assert not self.moves
        except VersionYanked:
            assert self.moves[-1][1] in self.yanked
        else:
            assert found == self.moves[-1][1]
            assert found not in self.yanked

    @invariant()
    def without_a_crash_all_is_well(self) -> None:
        if not self.crashed:
            assert verify(self.store, MODEL) == ()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
