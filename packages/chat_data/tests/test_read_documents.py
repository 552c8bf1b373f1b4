import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.problems import BadData, ReadReport
from packages.chat_data.src.read_documents import read_documents
from packages.chat_data.src.sources import pin_source

PIECES = st.sampled_from(
    [b"\n", b"\r", b" ", b"\t", b"{", b"}", b"[", b'"', b'{"text": "a"}', b'{"text": 1}', b"\xff", b"\xc3", b"\xa9",
     b"\x00", b"\x1f\x8b", b"\xef\xbb\xbf", b"text", b"<|im_end|>", b",", b"NaN", b"PAR1", b"\xe2\x80\xae"]
)  # fmt: skip
BYTES = st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=30).map(b"".join))
NAMES = st.sampled_from(
    [
        "a.txt",
        "a.md",
        "a.jsonl",
        "a.json",
        "a.csv",
        "a.parquet",
        "a.txt.gz",
        "a.jsonl.zst",
    ]
)
PROPERTY = settings(
    derandomize=True,
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@PROPERTY
@given(name=NAMES, data=BYTES, quarantine=st.booleans())
def test_any_bytes_give_documents_or_coded_problems(tmp_path, name, data, quarantine):
    path = tmp_path / name
    path.write_bytes(data)
    report = ReadReport(io.StringIO() if quarantine else None, max_bad_fraction=1.0)
    try:
        documents = list(read_documents(pin_source(str(path)), ReadOptions(), report))
    except BadData as error:
        assert all(
            problem.code.startswith("FT-D") and problem.remedy
            for problem in error.problems
        )
        assert str(error).replace("\n", "").isprintable()
    else:
        assert documents or report.rejected
    path.unlink()


ELEMENTS = st.sampled_from(
    [b'{"text": "a"}', b'{"text": 1}', b"5", b"[", b"]", b",", b"\n", b" ", b"\xff"]
)


@PROPERTY
@given(data=st.lists(ELEMENTS, max_size=20).map(b"".join), chunk=st.integers(1, 50))
def test_any_array_gives_documents_or_coded_problems(tmp_path, data, chunk):
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + data)
    report = ReadReport(io.StringIO(), max_bad_fraction=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packages.chat_data.src.local_source.CHUNK_BYTES", chunk)
        try:
            documents = list(read_documents(pin_source(str(path)), None, report))
        except BadData:
            return
    assert len(documents) + report.rejected + report.blank == report.lines
    try:
        # An independent parser: what it takes for an array of objects is read without a problem of the file.
        rows = json.loads(path.read_bytes())
    except ValueError:
        assert report.rejected
    else:
        good = sum(row == {"text": "a"} for row in rows)
        assert (len(documents), report.rejected) == (good, len(rows) - good)


@PROPERTY
@given(data=st.lists(PIECES, max_size=30).map(b"".join))
def test_every_line_is_accepted_rejected_or_blank(tmp_path, data):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    report = ReadReport(io.StringIO(), max_bad_fraction=1.0)
    try:
        documents = list(read_documents(pin_source(str(path)), ReadOptions(), report))
    except BadData:
        return
    # An independent count of the lines: a BOM is no text, and CRLF, CR and LF each end a line.
    text = (
        data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    )
    lines = len(text.split(b"\n")) - (text.endswith(b"\n") or not text)
    file_problems = sum(
        problem.code in ("FT-D016", "FT-D017", "FT-D044") for problem in report.problems
    )
    if not file_problems:
        assert report.lines == lines
    assert len(documents) + report.rejected + report.blank == report.lines
    assert len(documents) == report.accepted


def test_documents_of_a_folder_come_in_one_order_with_their_places(read):
    files = {
        "b.jsonl": '{"text": "3"}\n',
        "a.jsonl": '{"text": "1"}\n\n{"text": "2"}\n',
    }
    documents, report = read(files)
    assert [(one.text, one.where) for one in documents] == [
        ("1", "a.jsonl:1"),
        ("2", "a.jsonl:3"),
        ("3", "b.jsonl:1"),
    ]
    assert (report.documents, report.characters, report.lines, report.blank) == (
        3,
        3,
        4,
        1,
    )


def test_detection_says_what_it_took_the_file_for_and_why(read):
    rows = json.dumps({"instruction": "q", "input": "", "output": "a"})
    _, report = read({"a.jsonl": rows})
    assert report.format_reason.startswith("read as alpaca: the first row (")
    assert report.format_reason.endswith("a.jsonl:1) has instruction, output")


def test_an_empty_file_beside_others_is_a_notice(read):
    documents, report = read({"a.txt": "", "b.txt": "text"})
    assert len(documents) == 1
    assert report.notices["N111"] == 1
    assert report.problems == []


def test_a_broken_file_does_not_hide_the_problems_of_the_next(read):
    _, report = read({"a.txt": b"\x89PNG\r\n\x1a\n", "b.txt": b"\xff"})
    assert [problem.code for problem in report.problems] == ["FT-D016", "FT-D012"]


def test_no_document_follows_the_first_problem(read):
    documents, _ = read({"a.jsonl": '{"text": "a"}\n5\n{"text": "b"}\n'})
    assert [document.text for document in documents] == ["a"]


def test_a_file_that_changed_since_it_was_pinned_stops_the_run(tmp_path):
    path = tmp_path / "a.txt"
    for changed in ("TEXT", "longer text", "t"):
        path.write_text("text")
        source = pin_source(str(path))
        path.write_text(changed)
        report = ReadReport()
        try:
            list(read_documents(source, report=report))
        except BadData as error:
            assert [problem.code for problem in error.problems] == ["FT-D071"]
        assert report.rejected == 1


def test_a_format_by_name_is_required_of_every_row(read):
    rows = '{"text": "a", "prompt": "q", "completion": "a"}\n{"text": "b"}\n'
    documents, report = read({"a.jsonl": rows}, ReadOptions(format="prompt_completion"))
    assert documents[0].messages[1].content == "a"
    assert [(problem.code, problem.line) for problem in report.problems] == [
        ("FT-D041", 2)
    ]
