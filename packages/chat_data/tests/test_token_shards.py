import hashlib
import pickle

import numpy as np
import pytest

from packages.chat_data.src.token_shards import ShardWriter, open_split
from packages.chat_data.src.tokenization import TokenizedDocument
from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.folder_store import FolderStore


def row(*ids, scored=None):
    ids = np.array(ids, np.uint32)
    mask = np.array(scored if scored is not None else [False] + [True] * (len(ids) - 1))
    return TokenizedDocument(ids, mask, int(mask.sum()) * 3)


def write(store, folder, rows, tokens_per_shard=100):
    folder.mkdir(exist_ok=True)
    with ShardWriter(store, folder, "train", tokens_per_shard) as writer:
        for number, one in enumerate(rows):
            writer.add(one, f"a.jsonl:{number + 1}")
        return writer.finish()


ROWS = [row(1, 2, 3), row(4_000_000_000, 7, scored=[False, True]), row(9, 9, 9, 9, 9)]


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "store")


@pytest.mark.parametrize(
    "tokens_per_shard", [1, 4, 100], ids=["a shard each", "two shards", "one shard"]
)
def test_rows_come_back_as_they_were(store, tmp_path, tokens_per_shard):
    split = write(store, tmp_path / "new", ROWS, tokens_per_shard)
    reader = open_split(store, split, tmp_path / "cache")
    assert len(reader) == 3
    for number, expected in enumerate(ROWS):
        found = reader[number]
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.scored.tolist() == expected.scored.tolist()
        assert found.scored_bytes == expected.scored_bytes
        assert reader.where(number) == f"a.jsonl:{number + 1}"
    assert reader[-1].ids.tolist() == [9] * 5
    assert reader.lengths().tolist() == [3, 2, 5]
    with pytest.raises(IndexError, match="row 3"):
        reader[3]


def test_the_manifest_counts_by_hand(store, tmp_path):
    split = write(store, tmp_path / "new", ROWS, 4)
    # 3 + 2 + 5 tokens, the first of each not scored, three bytes for each scored one.
    assert (split.documents, split.tokens, split.scored_tokens, split.scored_bytes) == (
        3,
        10,
        7,
        21,
    )
    assert len(split.shards) == 2
    assert pickle.loads(pickle.dumps(split)) == split


def test_the_file_is_what_the_module_says(store, tmp_path):
    split = write(store, tmp_path / "new", [row(1, 2, 3)])
    data = store.read(f"blobs/sha256/{split.shards[0]}")
    # Written out from the description: magic, counts, three ids and padding, mask and padding, two starts,
    # one count of bytes and padding, two starts of places, "a.jsonl:1" and padding.
    expected = b"FTTOKEN1" + np.array([1, 3, 9], "<u8").tobytes()
    expected += np.array([1, 2, 3, 0], "<u4").tobytes() + bytes(
        [0, 1, 1, 0, 0, 0, 0, 0]
    )
    expected += np.array([0, 3], "<u8").tobytes() + np.array([6, 0], "<u4").tobytes()
    expected += np.array([0, 9], "<u8").tobytes() + b"a.jsonl:1" + bytes(7)
    assert data == expected
    assert hashlib.sha256(data).hexdigest() == split.shards[0]


def test_the_same_rows_are_stored_once(store, tmp_path):
    first = write(store, tmp_path / "new", ROWS)
    assert write(store, tmp_path / "new", ROWS) == first
    assert len(list(store.list(""))) == 1


def test_rows_are_views_on_the_file(store, tmp_path):
    reader = open_split(store, write(store, tmp_path / "new", ROWS), tmp_path / "cache")
    assert not reader[0].ids.flags.owndata
    assert not reader[0].ids.flags.writeable


def test_nothing_is_left_in_the_folder_even_after_an_error(store, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    with pytest.raises(RuntimeError), ShardWriter(store, folder, "train") as writer:
        writer.add(ROWS[0], "a:1")
        raise RuntimeError
    assert list(folder.iterdir()) == []
    assert list(store.list("")) == []


def test_a_damaged_shard_is_refused(store, tmp_path):
    split = write(store, tmp_path / "new", ROWS)
    path = store.local_path(f"blobs/sha256/{split.shards[0]}")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        open_split(store, split, tmp_path / "cache")


def test_a_missing_shard_is_named(store, tmp_path):
    split = write(store, tmp_path / "new", ROWS)
    store.delete(f"blobs/sha256/{split.shards[0]}")
    with pytest.raises(UserError, match=split.shards[0]):
        open_split(store, split, tmp_path / "cache")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"FTTOKEN1",
        b"something else entirely, of some length",
        b"FTTOKEN1" + bytes(25),
    ],
)
def test_a_file_of_another_format_is_refused(store, tmp_path, data):
    from packages.chat_data.src.token_shards import TokenReader

    path = tmp_path / "shard"
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read"):
        TokenReader([path])


def test_equal_rows_have_equal_keys(store, tmp_path):
    rows = [row(1, 2), row(1, 2), row(1, 2, scored=[False, False]), row(1, 3)]
    reader = open_split(store, write(store, tmp_path / "new", rows), tmp_path / "cache")
    assert reader.key(0) == reader.key(1)
    assert len({reader.key(number) for number in range(4)}) == 3


def test_an_empty_split_has_no_rows(store, tmp_path):
    split = write(store, tmp_path / "new", [])
    assert len(open_split(store, split, tmp_path / "cache")) == 0
