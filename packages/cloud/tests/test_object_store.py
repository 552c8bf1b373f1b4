"""The promises of `ObjectStore`, asked of the folder, of S3 (moto) and of the fake alike."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packages.cloud.src.exit_codes import EX_DATAERR, EX_USAGE, UserError
from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import (
    BlobDamaged,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    checked_key,
    fetch_blob,
    open_store,
    put_blob,
)
from packages.cloud.src.s3_store import S3Store

# Independent of our code: `printf hello | sha256sum`.
HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
BAD_KEYS = {
    "empty": "",
    "absolute": "/etc/passwd",
    "parent": "a/../b",
    "parent at the end": "a/..",
    "dot": "./a",
    "empty part": "a//b",
    "trailing slash": "a/",
    "backslash": "a\\b",
    "nul": "a\0b",
    "newline": "a\nb",
    "delete character": "a\x7fb",
    "name of a temporary file": "a/.tmp-1",
    "name of the lock": ".store-lock",
    "1025 bytes": "a" * 1025,
}


@pytest.mark.parametrize(
    "data", [b"", b"one", bytes(range(256)) * 4096], ids=["empty", "small", "1 MiB"]
)
def test_what_was_created_is_read(
    store: ObjectStore, data: bytes, tmp_path: Path
) -> None:
    store.create("a/b.bin", data)
    assert store.read("a/b.bin") == data
    assert store.read_with_etag("a/b.bin")[0] == data
    assert store.exists("a/b.bin")
    assert store.stat("a/b.bin").size_bytes == len(data)
    store.download("a/b.bin", tmp_path / "out" / "copy")
    assert (tmp_path / "out" / "copy").read_bytes() == data
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["copy"]


def test_creating_the_same_bytes_again_is_a_success(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "one").write_bytes(b"one")
    store.create("a", b"one")
    store.create("a", b"one")
    store.create_from_file("a", tmp_path / "one")
    assert [row.key for row in store.list("")] == ["a"]


def test_creating_other_bytes_is_refused_and_the_first_stay(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "two").write_bytes(b"two")
    store.create("a", b"one")
    with pytest.raises(ObjectExists, match="other bytes"):
        store.create("a", b"two")
    with pytest.raises(ObjectExists, match="other bytes"):
        store.create_from_file("a", tmp_path / "two")
    assert store.read("a") == b"one"


def test_replace_wants_the_etag_that_was_read(store: ObjectStore) -> None:
    first = store.replace("a", b"one", None)
    assert store.read_with_etag("a") == (b"one", first)
    assert store.stat("a").etag == first
    second = store.replace("a", b"two", first)
    assert second != first
    with pytest.raises(ObjectChanged):
        store.replace("a", b"three", first)
    with pytest.raises(ObjectChanged):
        store.replace("a", b"three", None)
    assert store.read_with_etag("a") == (b"two", second)


def test_replacing_equal_bytes_with_a_stale_etag_is_no_success(
    store: ObjectStore,
) -> None:
    # Two writers count 1 -> 2: if the second were told "done", one count would be lost.
    etag = store.replace("counter", b"1", None)
    store.replace("counter", b"2", etag)
    with pytest.raises(ObjectChanged):
        store.replace("counter", b"2", etag)


def test_replace_does_not_create_what_vanished(store: ObjectStore) -> None:
    etag = store.replace("a", b"one", None)
    store.delete("a")
    with pytest.raises(ObjectChanged):
        store.replace("a", b"two", etag)
    assert not store.exists("a")


def test_a_missing_object_has_its_own_error(store: ObjectStore, tmp_path: Path) -> None:
    store.create("folder/a", b"one")
    for key in ("nothing", "folder", "folder/a/b"):
        assert not store.exists(key)
        for ask in (store.read, store.read_with_etag, store.stat):
            with pytest.raises(ObjectMissing, match=key):
                ask(key)
        with pytest.raises(ObjectMissing, match=key):
            store.download(key, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_list_takes_a_plain_prefix_and_orders_by_bytes(store: ObjectStore) -> None:
    for key in ("v1.0/b", "v1.0/a", "v1.10/a", "v1.1/a", "v1.0-x", "z", "é"):
        store.create(key, key.encode())
    # By hand: "-" 0x2d < "/" 0x2f < "0" 0x30; "é" starts with 0xc3.
    assert [row.key for row in store.list("v1.")] == [
        "v1.0-x",
        "v1.0/a",
        "v1.0/b",
        "v1.1/a",
        "v1.10/a",
    ]
    assert [row.key for row in store.list("v1.0/")] == ["v1.0/a", "v1.0/b"]
    assert [row.key for row in store.list("")][-2:] == ["z", "é"]
    assert list(store.list("no/such/")) == []
    assert next(store.list("z")).size_bytes == 1


def test_delete_removes_one_object_and_forgives_its_absence(store: ObjectStore) -> None:
    store.create("a", b"one")
    store.delete("a")
    store.delete("a")
    store.delete("never/there")
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_key_cannot_leave_the_store(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="no key of an object store"):
        store.create(key, b"x")
    with pytest.raises(ValueError, match="no key of an object store"):
        store.read(key)
    assert list(store.list("")) == []


def test_the_longest_key_is_accepted() -> None:
    assert checked_key("a" * 1024) == "a" * 1024


def test_of_many_creators_exactly_one_wins(store: ObjectStore) -> None:
    for round_number in range(5):
        key, outcomes = f"label-{round_number}", []

        def create(number: int, key: str = key, outcomes: list[str] = outcomes) -> None:
            try:
                store.create(key, str(number).encode())
                outcomes.append(f"won {number}")
            except ObjectExists:
                outcomes.append("lost")

        run_together([lambda n=n: create(n) for n in range(8)])
        winners = [text for text in outcomes if text != "lost"]
        assert winners == [f"won {store.read(key).decode()}"]
        assert len(outcomes) == 8


def test_no_increment_of_a_shared_counter_is_lost(store: ObjectStore) -> None:
    store.create("counter", b"0")
    if isinstance(store, S3Store):
        store._call = one_at_a_time(store._call)

    def count() -> None:
        done = 0
        while done < 6:
            value, etag = store.read_with_etag("counter")
            try:
                store.replace("counter", str(int(value) + 1).encode(), etag)
                done += 1
            except ObjectChanged:
                pass

    run_together([count] * 6)
    assert store.read("counter") == b"36"  # 6 threads x 6


def test_a_blob_is_stored_once_under_its_hash(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    assert put_blob(store, b"hello") == HELLO_SHA256
    written_at = store.stat(f"blobs/sha256/{HELLO_SHA256}").modified_at
    assert put_blob(store, tmp_path / "file") == HELLO_SHA256
    assert put_blob(store, b"hello", folder="elsewhere") == HELLO_SHA256
    assert [row.key for row in store.list("")] == [
        f"blobs/sha256/{HELLO_SHA256}",
        f"elsewhere/{HELLO_SHA256}",
    ]
    assert store.stat(f"blobs/sha256/{HELLO_SHA256}").modified_at == written_at


def test_a_blob_is_fetched_verified_and_kept(
    store: ObjectStore, tmp_path: Path
) -> None:
    sha256 = put_blob(store, b"hello")
    path = fetch_blob(store, sha256, tmp_path / "cache")
    assert path.read_bytes() == b"hello"
    if store.local_path(f"blobs/sha256/{sha256}") is None:
        path.write_bytes(b"damaged in the cache")
        store_reads_again = fetch_blob(store, sha256, tmp_path / "cache")
        assert store_reads_again.read_bytes() == b"hello"
    with pytest.raises(ObjectMissing):
        fetch_blob(store, hashlib.sha256(b"other").hexdigest(), tmp_path / "cache")


@pytest.mark.parametrize("damaged", [b"", b"hell", b"hello!", b"hellp"])
def test_a_damaged_blob_is_never_handed_out(
    store: ObjectStore, damaged: bytes, tmp_path: Path
) -> None:
    store.create(f"blobs/sha256/{HELLO_SHA256}", damaged)
    with pytest.raises(BlobDamaged, match=HELLO_SHA256) as refusal:
        fetch_blob(store, HELLO_SHA256, tmp_path / "cache")
    assert refusal.value.exit_code == EX_DATAERR
    assert not list(tmp_path.glob("cache/*"))
    if len(damaged) != 5:
        with pytest.raises(BlobDamaged, match="instead of 5"):
            put_blob(store, b"hello")


def test_an_address_opens_the_store_it_names(tmp_path: Path) -> None:
    s3 = open_store("s3://bucket/some/prefix/")
    assert isinstance(s3, S3Store)
    assert (s3.bucket, s3.prefix, s3.uri) == (
        "bucket",
        "some/prefix/",
        "s3://bucket/some/prefix",
    )
    assert open_store("s3://bucket").uri == "s3://bucket"
    folder = tmp_path / "with space and é"
    for address in (str(folder), folder.as_uri()):
        store = open_store(address)
        assert isinstance(store, FolderStore)
        assert store.root == folder.resolve()
        assert store.uri == folder.resolve().as_uri()
    assert not folder.exists()


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket/x",
        "s3://",
        "s3:///x",
        "file://host/x",
        "https://h/x",
        "s3://b/a/../c",
    ],
)
def test_another_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(UserError, match="s3://bucket/prefix|no S3 address") as refusal:
        open_store(address)
    assert refusal.value.exit_code == EX_USAGE


def test_the_time_of_the_fake_counts_writes() -> None:
    store = MemoryStore()
    store.create("a", b"1")
    store.create("b", b"2")
    waited = store.stat("b").modified_at - store.stat("a").modified_at
    assert waited.total_seconds() == 1


def one_at_a_time(call: Callable[..., Any]) -> Callable[..., Any]:
    """moto inside one process may close a body that another thread replaces while it is being sent."""
    lock = threading.Lock()

    def guarded(*arguments: Any, **named: Any) -> Any:
        with lock:
            return call(*arguments, **named)

    return guarded


def run_together(jobs: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
