"""What only a folder can suffer: full disks, killed processes, file systems without hard links."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from packages.cloud.src import folder_store
from packages.cloud.src.exit_codes import EX_CANTCREAT, EX_NOPERM, UserError
from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.object_store import ObjectChanged, ObjectExists

# Each system call of a write, as (module attribute, how often it is called at most).
SYSTEM_CALLS = ["fsync", "link", "open"]


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES],
    ids=["full disk", "quota", "read-only", "no permission"],
)
@pytest.mark.parametrize("write", ["create", "create_from_file", "replace"])
def test_a_disk_that_refuses_leaves_the_former_object_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, number: int
) -> None:
    store = FolderStore(tmp_path / "store")
    etag = store.replace("a/old", b"old", None)
    (tmp_path / "source").write_bytes(b"new")

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(UserError, match="Cannot write") as refusal:
        if write == "create":
            store.create("a/new", b"new")
        elif write == "create_from_file":
            store.create_from_file("a/new", tmp_path / "source")
        else:
            store.replace("a/old", b"new", etag)
    assert refusal.value.exit_code == EX_CANTCREAT
    assert store.read("a/old") == b"old"
    assert [p.name for p in (tmp_path / "store" / "a").iterdir()] == ["old"]


@pytest.mark.parametrize("ask", ["read", "stat", "exists", "local_path", "list"])
def test_a_folder_that_may_not_be_read_is_no_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    # Tests may run as root, whom no permission stops: the system calls refuse instead.
    store = FolderStore(tmp_path)
    store.create("a", b"x")

    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match="Cannot read") as refusal:
        list(store.list("")) if ask == "list" else getattr(store, ask)("a")
    assert refusal.value.exit_code == EX_NOPERM


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="a part of the path is a file") as refusal:
        FolderStore(tmp_path / "file").create("a", b"x")
    assert refusal.value.exit_code == EX_CANTCREAT


def test_an_error_nobody_foresaw_keeps_its_own_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        FolderStore(tmp_path).create("a", b"x")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", SYSTEM_CALLS)
@pytest.mark.parametrize("write", ["create", "replace"])
def test_a_killed_process_leaves_the_old_or_the_new_bytes(
    tmp_path: Path, write: str, call: str, when: str
) -> None:
    store = FolderStore(tmp_path)
    etag = store.replace("a/replace", b"old", None)

    def write_and_die() -> None:
        kill_at(call, when)
        if write == "create":
            store.create("a/create", b"new" * 1000)
        else:
            store.replace("a/replace", b"new" * 1000, etag)

    run_in_child(write_and_die)
    allowed = {"create": (None, b"new" * 1000), "replace": (b"old", b"new" * 1000)}
    key = f"a/{write}"
    assert (store.read(key) if store.exists(key) else None) in allowed[write]
    assert {row.key for row in store.list("")} <= {"a/create", "a/replace"}
    # Whoever comes next is not hindered by what the dead process left.
    store.create("a/create", b"new" * 1000)
    stored, etag = store.read_with_etag("a/replace")
    store.replace("a/replace", stored + b"!", etag)


def test_processes_lose_no_increment(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("counter", b"0")

    def count() -> None:
        done = 0
        while done < 25:
            value, etag = store.read_with_etag("counter")
            try:
                store.replace("counter", str(int(value) + 1).encode(), etag)
                done += 1
            except ObjectChanged:
                pass

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=count) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert store.read("counter") == b"100"  # 4 processes x 25


def test_without_hard_links_creation_is_still_exclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_hard_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", no_hard_links)
    store = FolderStore(tmp_path)
    store.create("a", b"one")
    store.create("a", b"one")
    with pytest.raises(ObjectExists):
        store.create("a", b"two")
    assert store.read("a") == b"one"
    assert [row.key for row in store.list("")] == ["a"]


def test_rests_of_dead_processes_are_not_listed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("v1.0/a", b"one")
    (tmp_path / "v1.0" / ".tmp-123-abc").write_bytes(b"half")
    etag = store.stat("v1.0/a").etag
    store.replace("v1.0/a", b"two", etag)
    assert [row.key for row in store.list("")] == ["v1.0/a"]


def test_a_blob_is_the_stored_file_itself(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a/b", b"one")
    assert store.local_path("a/b") == tmp_path.resolve() / "a" / "b"


def kill_at(call: str, when: str) -> None:
    """From now on this process dies (SIGKILL: no `finally` runs) before or after the system call."""
    real: Callable[..., object] = getattr(os, call)

    def deadly(*arguments: object, **named: object) -> object:
        if when == "after":
            real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(folder_store.os, call, deadly)


def run_in_child(work: Callable[[], None]) -> None:
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
