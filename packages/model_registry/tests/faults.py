"""Stores that crash at a chosen call, and two writers that take turns in a chosen order."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore, StoredObject

Hook = Callable[[str, str], None]


class Crash(BaseException):
    """The process is gone: nothing in the product may catch this and go on."""


def nothing(_: str, __: str) -> None:
    pass


class HookedStore:
    """Another store, with a hook before and after each call."""

    def __init__(
        self, store: ObjectStore, before: Hook = nothing, after: Hook = nothing
    ) -> None:
        self.store = store
        self.uri = store.uri
        self.before = before
        self.after = after

    def _call(self, name: str, key: str, *rest: Any) -> Any:
        self.before(name, key)
        try:
            result = getattr(self.store, name)(key, *rest)
            return list(result) if name == "list" else result
        finally:
            self.after(name, key)

    def read(self, key: str) -> bytes:
        return self._call("read", key)

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        return self._call("read_with_etag", key)

    def stat(self, key: str) -> StoredObject:
        return self._call("stat", key)

    def exists(self, key: str) -> bool:
        return self._call("exists", key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return iter(self._call("list", prefix))

    def create(self, key: str, data: bytes) -> None:
        self._call("create", key, data)

    def create_from_file(self, key: str, path: Path) -> None:
        self._call("create_from_file", key, path)

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        return self._call("replace", key, data, if_etag)

    def delete(self, key: str) -> None:
        self._call("delete", key)

    def download(self, key: str, path: Path) -> None:
        self._call("download", key, path)

    def local_path(self, key: str) -> Path | None:
        return None


def crash_at(number: int) -> Hook:
    """A hook that crashes at its n-th call, counted from 1."""
    calls = [0]

    def hook(name: str, key: str) -> None:
        calls[0] += 1
        if calls[0] == number:
            raise Crash(f"{name} {key}")

    return hook


def crashing(store: ObjectStore, when: str, number: int) -> HookedStore:
    """The store as a process sees it that dies before or after its n-th call."""
    if when == "before":
        return HookedStore(store, before=crash_at(number))
    return HookedStore(store, after=crash_at(number))


def count_calls(store: ObjectStore, work: Callable[[ObjectStore], object]) -> int:
    calls: list[str] = []
    work(HookedStore(store, before=lambda name, _: calls.append(name)))
    return len(calls)


def take_turns(
    store: ObjectStore,
    works: Sequence[Callable[[ObjectStore], object]],
    order: Sequence[int],
) -> list[object]:
    """Run the works together, one store call at a time, in this order; results or exceptions.

    A worker that has finished gives its turns away; when the order is used up, the rest run in their order.
    """
    news: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
    go = [threading.Lock() for _ in works]  # taken = must wait
    results: list[object] = [None] * len(works)

    def run(me: int) -> None:
        def wait(_: str, __: str) -> None:
            news.put((me, False))
            go[me].acquire()

        try:
            results[me] = works[me](HookedStore(store, before=wait))
        except Exception as error:
            results[me] = error
        news.put((me, True))

    threads = [threading.Thread(target=run, args=(me,)) for me in range(len(works))]
    alive = set(range(len(works)))

    def hear() -> None:
        who, finished = news.get()
        if finished:
            alive.discard(who)

    for lock in go:
        lock.acquire()
    for thread in threads:
        thread.start()
    for _ in works:
        hear()
    turns = iter(order)
    while alive:
        who = next(turns, min(alive))
        if who in alive:
            go[who].release()
            hear()
    for thread in threads:
        thread.join()
    return results


class OverwritingStore(MemoryStore):
    """What a registry looks like without If-None-Match: the last writer wins."""

    def create(self, key: str, data: bytes) -> None:
        with self._lock:
            self._write(key, data)


class CarelessStore(MemoryStore):
    """What an alias looks like without If-Match."""

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        with self._lock:
            self._write(key, data)
        return ""
