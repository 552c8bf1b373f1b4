import os
import unicodedata

import pytest

from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData
from packages.chat_data.src.read_documents import read_documents
from packages.chat_data.src.sources import STARTER_URI, pin_source
from packages.cloud.src.exit_codes import (
    EX_DATAERR,
    EX_NOINPUT,
    EX_NOPERM,
    EX_USAGE,
    UserError,
)

# sha256 of b"one", by sha256sum.
SHA256_OF_ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def refused(uri, **limits):
    with pytest.raises(UserError) as caught:
        pin_source(str(uri), ReadLimits(**limits))
    return caught.value


def test_a_file_is_pinned_by_name_size_and_hash(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one")
    source = pin_source(str(tmp_path / "a.txt"))
    assert source.kind == "local"
    assert [(one.key, one.size_bytes, one.sha256) for one in source.objects] == [
        ("a.txt", 3, SHA256_OF_ONE)
    ]


def test_the_data_hash_depends_on_names_and_bytes_alone(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_bytes(b"one")
    here, there = (
        pin_source(str(tmp_path / folder)).data_sha256 for folder in ("here", "there")
    )
    assert here == there
    (tmp_path / "there" / "a.txt").write_bytes(b"two")
    assert pin_source(str(tmp_path / "there")).data_sha256 != here


def test_a_folder_gives_its_readable_files_in_order_and_no_hidden_ones(tmp_path):
    for name in (
        "b/z.md",
        "a.txt",
        "c.txt.gz",
        ".hidden.txt",
        ".git/x.txt",
        "image.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    source = pin_source(str(tmp_path))
    assert [one.key for one in source.objects] == ["a.txt", "b/z.md", "c.txt.gz"]
    assert source.note == "1 files of other types left out"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["README.md", "train.jsonl"], ["train.jsonl"]),
        (["a.md", "b.md", "c.md", "rows.jsonl"], ["rows.jsonl"]),
        (["README.md", "LICENSE.txt", "train.csv"], ["train.csv"]),
        (["a.md", "b.md", "package.json"], ["a.md", "b.md"]),
        (["README.md", "sub/README.md"], ["README.md", "sub/README.md"]),
    ],
)
def test_a_folder_is_read_as_rows_or_as_text(tmp_path, names, chosen):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    source = pin_source(str(tmp_path))
    assert [one.key for one in source.objects] == chosen
    assert ("left out" in source.note) == (len(chosen) < len(names))


def test_a_pattern_gives_what_it_matches(tmp_path):
    for name in ("a.txt", "b.txt", "sub/c.txt", "d.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [one.key for one in pin_source(f"{tmp_path}/*.txt").objects] == [
        "a.txt",
        "b.txt",
    ]
    everywhere = pin_source(f"{tmp_path}/**/*.txt")
    assert [one.key for one in everywhere.objects] == ["a.txt", "b.txt", "sub/c.txt"]
    assert [document.text for document in read_documents(everywhere)] == [
        "a.txt",
        "b.txt",
        "sub/c.txt",
    ]


def test_f01_a_missing_file_names_the_folder_and_the_nearest_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text("{}")
    error = refused("tarin.jsonl")
    assert error.exit_code == EX_NOINPUT
    assert str(tmp_path) in error.message
    assert "Did you mean train.jsonl?" in error.message


def test_f02_a_folder_without_text_lists_what_is_there(tmp_path):
    for name in ("a.png", "b.bin", "c.exe", "d.dll"):
        (tmp_path / name).write_bytes(b"x")
    error = refused(tmp_path)
    assert error.exit_code == EX_NOINPUT
    assert "Found: a.png, b.bin, c.exe." in error.message


def test_f03_permission_denied(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("x")

    def refuse(*arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(path))

    # Tests may run as root, whom no file mode stops.
    monkeypatch.setattr("pathlib.Path.open", refuse)
    error = refused(path)
    assert error.exit_code == EX_NOPERM
    assert "chmod" in error.message


def test_f04_a_loop_of_links(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "b.txt")
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    assert refused(tmp_path / "a.txt").exit_code == EX_NOINPUT


@pytest.mark.parametrize("make", [os.mkfifo, None], ids=["pipe", "device"])
def test_f05_only_regular_files_are_opened(tmp_path, make):
    path = tmp_path / "a.txt"
    if make:
        make(path)
    error = refused(path if make else "/dev/zero")
    assert error.exit_code == EX_DATAERR
    assert "FT-D070" in error.message


@pytest.mark.parametrize(
    "name",
    ["two words.txt", "a#b.txt", "50%.txt", "-rf.txt", "a\nb.txt", unicodedata.normalize("NFC", "e\u0301.txt"),
     unicodedata.normalize("NFD", "\u00e9.txt"), "a?b=c.txt"],
)  # fmt: skip
def test_f06_any_file_name_works_and_messages_stay_printable(tmp_path, name):
    (tmp_path / name).write_text("text")
    for uri in (tmp_path, tmp_path / name):
        assert [document.text for document in read_documents(pin_source(str(uri)))] == [
            "text"
        ]
    (tmp_path / name).write_bytes(b"\xff")
    with pytest.raises(BadData) as caught:
        list(read_documents(pin_source(str(tmp_path))))
    assert str(caught.value).isprintable()


def test_f07_a_path_that_is_too_long():
    assert refused("a" * 5000).exit_code == EX_USAGE


def test_f08_a_file_that_shrank_is_noticed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    source = pin_source(str(path))
    path.write_text("t")
    with pytest.raises(BadData, match="FT-D071"):
        list(read_documents(source))


def test_f10_a_pattern_that_matches_nothing(tmp_path):
    assert refused(tmp_path / "*.txt").exit_code == EX_NOINPUT


def test_limits_stop_a_file_before_it_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("12345")
    assert "FT-D072" in refused(tmp_path, file_bytes=4).message
    (tmp_path / "b.txt").write_text("x")
    assert refused(tmp_path, objects=1).exit_code == EX_NOINPUT


def test_a_missing_path_beside_an_existing_folder_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for uri in ("data/missing", "other/train.jsonl"):
        assert refused(uri).exit_code == EX_NOINPUT
        assert "does not exist" in refused(uri).message


@pytest.mark.parametrize("uri", ["", "ftp://x/y", "starter://other", "s3://", "hf://x"])
def test_an_address_of_no_kind_is_a_usage_error(uri):
    assert refused(uri).exit_code == EX_USAGE


def test_the_starter_corpus_has_a_hash_that_stays():
    first, second = pin_source(STARTER_URI), pin_source(STARTER_URI)
    assert first == second
    assert first.objects[0].size_bytes > 100_000
