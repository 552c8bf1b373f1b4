import dataclasses
import errno
import json
import pickle

import pytest

from packages.chat_data.src import tokenize_source as module
from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.problems import BadData
from packages.chat_data.src.sources import pin_source
from packages.chat_data.src.split import SplitOptions
from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.token_shards import open_split
from packages.chat_data.src.tokenize_source import TokenizeOptions, tokenize_source
from packages.cloud.src.exit_codes import EX_CANTCREAT, UserError
from packages.cloud.src.folder_store import FolderStore

SPLIT = SplitOptions(0.2, 0.2, seed=1)
OPTIONS = TokenizeOptions(max_tokens=64, min_tokens=0)


def rows(count):
    exchange = (
        {"prompt": f"the question {n}", "completion": f"answer: {n}"}
        for n in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in exchange)


@pytest.fixture
def run(tmp_path, tokenizer):
    """Tokenize a file of the test: (manifest, store)."""
    store = FolderStore(tmp_path / "store")
    path = tmp_path / "data" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text(rows(20))

    def tokenize(
        options=OPTIONS, split=SPLIT, text=None, name="rows.jsonl", used=tokenizer
    ):
        if text is not None:
            (path.parent / name).write_text(text)
        source = pin_source(str(path.parent / name))
        return tokenize_source(
            source,
            used,
            options=options,
            split=split,
            store=store,
            cache_dir=tmp_path / "cache",
        )

    tokenize.store, tokenize.cache = store, tmp_path / "cache"
    return tokenize


def stored(run):
    return {one.key for one in run.store.list("")}


def test_every_document_is_on_one_side_with_its_tokens(run, tokenizer):
    manifest = run()
    texts = []
    for split in (manifest.train, manifest.validation, manifest.hold_out):
        reader = open_split(run.store, split, run.cache)
        assert sum(len(row.ids) for row in reader) == split.tokens
        assert sum(int(row.scored.sum()) for row in reader) == split.scored_tokens
        assert sum(row.scored_bytes for row in reader) == split.scored_bytes
        texts += [tokenizer.decode(row.ids[row.scored]) for row in reader]
    assert [
        manifest.train.documents,
        manifest.validation.documents,
        manifest.hold_out.documents,
    ] == [12, 4, 4]
    assert sorted(texts) == sorted(f"answer: {n}<|im_end|>" for n in range(20))


def test_the_manifest_counts_what_was_read(run):
    manifest = run(text=rows(20) + rows(3))
    # "the question n" and "answer: n": 13 + 8 characters and the number twice, 10 of one digit and 10 of two.
    assert manifest.characters == 20 * 21 + 2 * (10 + 20) + 3 * 23
    assert (manifest.documents, manifest.duplicates_dropped, manifest.left_out) == (
        23,
        3,
        0,
    )
    assert manifest.bytes_read == len(rows(20) + rows(3))
    assert sum(count for _, count in manifest.histogram) == 20
    assert manifest.format_reason.startswith("read as prompt_completion")


def test_the_manifest_is_small_plain_and_survives_json_and_pickle(run):
    manifest = run()
    assert (
        TokenManifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    )
    assert pickle.loads(pickle.dumps(manifest)) == manifest
    assert len(pickle.dumps(manifest)) < 20_000


def test_the_preview_shows_tokens_and_mask_of_three_rows(run):
    preview = run().preview
    assert len(preview) == 3
    for row in preview:
        learned = "".join(
            token
            for token, scored in zip(row.tokens, row.scored, strict=True)
            if scored
        )
        assert learned.startswith("answer: ")
        assert learned.endswith("<|im_end|>")


def test_a_second_run_does_nothing_and_gives_the_same_manifest(run, monkeypatch):
    first, before = run(), stored(run)

    def refuse(*_):
        raise AssertionError("the source was read again")

    monkeypatch.setattr(module, "read_documents", refuse)
    assert run() == first
    assert stored(run) == before


def test_the_same_data_in_an_empty_store_gives_the_same_bytes(run, tmp_path, tokenizer):
    first = run()
    source = pin_source(str(tmp_path / "data" / "rows.jsonl"))
    again = tokenize_source(
        source,
        tokenizer,
        options=OPTIONS,
        split=SPLIT,
        store=FolderStore(tmp_path / "other"),
        cache_dir=tmp_path / "cache2",
    )
    assert again == first


@pytest.mark.parametrize(
    "change",
    [
        {"options": dataclasses.replace(OPTIONS, max_tokens=63)},
        {"options": dataclasses.replace(OPTIONS, train_on_prompt=True)},
        {"options": dataclasses.replace(OPTIONS, system_message="Be brief.")},
        {"options": dataclasses.replace(OPTIONS, over_length="drop")},
        {
            "options": dataclasses.replace(
                OPTIONS, read=ReadOptions(escape_control_tokens=True)
            )
        },
        {"split": dataclasses.replace(SPLIT, seed=2)},
        {"split": dataclasses.replace(SPLIT, max_documents=15)},
        {"text": rows(21)},
    ],
    ids=["length", "prompt", "system", "policy", "escape", "seed", "sample", "data"],
)
def test_whatever_decides_the_tokens_is_part_of_the_key(run, change):
    assert run().key != run(**change).key


def test_another_template_or_tokenizer_is_part_of_the_key(run, make_tokenizer):
    keys = {run().key}
    keys.add(
        run(
            used=make_tokenizer(
                make_tokenizer().chat_template.replace("helpful", "quick")
            )
        ).key
    )
    other = make_tokenizer()
    other.add_tokens(["zebra"])
    keys.add(run(used=other).key)
    assert len(keys) == 3


def test_a_cached_manifest_whose_shard_is_gone_is_made_again(run):
    first = run()
    run.store.delete(f"blobs/sha256/{first.train.shards[0]}")
    assert run() == first
    assert len(open_split(run.store, first.train, run.cache)) == first.train.documents


def test_plain_text_is_cut_into_rows_that_decode_to_the_file(run, tokenizer):
    text = "".join(
        f"The lazy dog {n} jumps.\n\nAnother fox, number {n}, asks.\n\n"
        for n in range(40)
    )
    manifest = run(text=text, name="a.txt")
    pieces = {}
    for split in (manifest.train, manifest.validation, manifest.hold_out):
        reader = open_split(run.store, split, run.cache)
        for number in range(len(reader)):
            place = int(reader.where(number).split(":")[1])
            pieces[place] = pieces.get(place, "") + tokenizer.decode(reader[number].ids)
    joined = "".join(
        pieces[place].removesuffix("<|endoftext|>") for place in sorted(pieces)
    )
    assert "".join(joined.split()) == "".join(text.split())


def test_a_folder_of_readmes_works(run, tmp_path):
    folder = tmp_path / "docs"
    for number in range(5):
        (folder / f"package{number}").mkdir(parents=True)
        (folder / f"package{number}" / "README.md").write_text(
            f"# Package {number}\n\nThe text of {number}.\n\n" * 20
        )
    manifest = run(name=str(folder))
    assert (
        manifest.format_reason
        == "read as text: package0/README.md is a plain-text file"
    )
    assert min(manifest.validation.documents, manifest.hold_out.documents) >= 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": "5\n"}, "FT-D048"),
        ({"text": rows(3), "split": SplitOptions(0.1, 0.4)}, "FT-D091"),
        ({"split": dataclasses.replace(SPLIT, min_train_documents=13)}, "FT-D090"),
        ({"options": TokenizeOptions(max_tokens=64, min_tokens=100_000)}, "FT-D090"),
        ({"text": rows(1) * 50}, "FT-D093"),
        (
            {
                "options": TokenizeOptions(
                    max_tokens=16, over_length="truncate", min_tokens=0
                )
            },
            "FT-D057",
        ),
    ],
    ids=[
        "bad row",
        "no validation",
        "less than a batch",
        "few tokens",
        "duplicates",
        "nothing to learn",
    ],
)
def test_data_that_cannot_be_used_stops_the_run_and_leaves_nothing_visible(
    run, change, code
):
    with pytest.raises(BadData, match=code):
        run(**change)
    assert not any(key.startswith("tokens/") for key in stored(run))
    assert list(run.cache.iterdir()) == []


def test_quarantine_goes_on_and_counts(run, tmp_path):
    kept = tmp_path / "rejected.jsonl"
    options = dataclasses.replace(
        OPTIONS,
        read=ReadOptions(on_bad_row="quarantine", max_bad_fraction=0.1),
        quarantine_path=str(kept),
    )
    manifest = run(options=options, text=rows(20) + "5\n")
    assert manifest.rejected == (("FT-D048", 1),)
    assert json.loads(kept.read_text())["line"] == 21


def test_f09_a_full_disk_is_one_clear_line(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_documents", full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        run()
    assert caught.value.exit_code == EX_CANTCREAT
    assert stored(run) == set()
    assert list(run.cache.iterdir()) == []
