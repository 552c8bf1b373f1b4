"""Every row of the hostile-input tables for files: one case each, written in code, nothing binary in the repository."""

import gzip
import io
import json
import resource
import tarfile
import time
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from packages.chat_data.src.limits import ReadLimits, ReadOptions

OK = ""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def chat(*turns):
    return jsonl(
        {"messages": [{"role": role, "content": content} for role, content in turns]}
    )


def tar(name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return out.getvalue()


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "text")
    return out.getvalue()


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


# id, file name, bytes, code (or OK), line, column, documents that are accepted.
# Lines and columns were counted by hand in the bytes of the case; 0 means the whole file or line.
TEXT = [
    ("T01 valid", "a.txt", "one\ntwo\n", OK, 0, 0, ["one\ntwo"]),
    ("T02 empty", "a.txt", "", "FT-D001", 0, 0, []),
    ("T03 newlines", "a.txt", "\n\n\n", "FT-D002", 0, 0, []),
    ("T04 white space", "a.txt", "  \n\t\n", "FT-D002", 0, 0, []),
    ("T05 no final newline", "a.txt", "one\ntwo", OK, 0, 0, ["one\ntwo"]),
    ("T06 CRLF", "a.txt", "one\r\ntwo\r\n", OK, 0, 0, ["one\ntwo"]),
    ("T07 lone CR", "a.txt", "a\rb\rc", OK, 0, 0, ["a\nb\nc"]),
    ("T08 mixed line ends", "a.txt", "a\r\nb\rc\nd\n", OK, 0, 0, ["a\nb\nc\nd"]),
    ("T09 BOM", "a.txt", b"\xef\xbb\xbfa\nb\n", OK, 0, 0, ["a\nb"]),
    ("T10 UTF-16", "a.txt", "a\n".encode("utf-16"), "FT-D012", 1, 1, []),
    ("T11 UTF-32", "a.txt", "a\n".encode("utf-32"), "FT-D012", 1, 1, []),
    ("T12 latin-1", "a.txt", b"ok\ncaf\xe9 x\n", "FT-D012", 2, 4, []),
    ("T13 cut in a character", "a.txt", b"ok\ncaf\xc3", "FT-D013", 2, 4, []),
    ("T14 overlong", "a.txt", b"a\xc0\x80b\n", "FT-D012", 1, 2, []),
    ("T15 surrogate", "a.txt", b"a\xed\xa0\x80b\n", "FT-D012", 1, 2, []),
    ("T16 NUL", "a.txt", b"ok\na\x00b\n", "FT-D014", 2, 2, []),
    ("T17 ESC BEL", "a.txt", "a\x1b[31m\x07b\n", OK, 0, 0, ["a[31mb"]),
    ("T18 VT FF", "a.txt", "a\x0bb\x0cc\n", OK, 0, 0, ["a b c"]),
    ("T19 NEL", "a.txt", "a\x85b\n", OK, 0, 0, ["a\x85b"]),
    ("T20 LS PS", "a.txt", "a\u2028b\u2029c\n", OK, 0, 0, ["a\u2028b\u2029c"]),
    ("T21 FS GS RS", "a.txt", "a\x1cb\x1dc\x1ed\n", OK, 0, 0, ["abcd"]),
    ("T22 10 MB line", "a.txt", "ok\n" + "x" * 10_000_000, "FT-D015", 2, 0, []),
    ("T23 PNG", "a.txt", PNG, "FT-D016", 0, 0, []),
    ("T24 gzip as text", "a.txt", gzip.compress(b"text"), "FT-D017", 0, 0, []),
    ("T25 U+FFFD", "a.txt", "a" * 100 + "\ufffd\n", OK, 0, 0, ["a" * 100 + "\ufffd"]),
    ("T25 more than 1 %", "a.txt", "a" * 98 + "\ufffd\n", "FT-D018", 0, 0, []),
    ("T26 bidi override", "a.txt", "a\u202eb\u200bc\n", OK, 0, 0, ["ab\u200bc"]),
    ("T27 control token", "a.txt", "ok\nx <|im_start|> y\n", "FT-D020", 2, 3, []),
    (
        "T28 duplicates",
        "a.jsonl",
        jsonl({"text": "a"}, {"text": "a"}),
        OK,
        0,
        0,
        ["a", "a"],
    ),
]
ROWS = [
    ("J01 valid", jsonl({"text": "a"}), OK, 0, 0, ["a"]),
    ("J02 empty", "", "FT-D001", 0, 0, []),
    ("J03 malformed", '{"text": "a"}\n{"text":x}\n{"text": 1}\n', "FT-D040", 2, 9, ["a"]),
    ("J04 cut off", '{"text": "a"}\n{"text": "b', "FT-D013", 2, 10, ["a"]),
    ("J05 no text", jsonl({"body": 1}), "FT-D041", 1, 0, []),
    ("J06 new key", jsonl({"text": "a"}, {"text": "b", "new": 1}), OK, 0, 0, ["a", "b"]),
    ("J07 null", jsonl({"text": None}), "FT-D042", 1, 0, []),
    ("J08 number", jsonl({"text": 5}), "FT-D043", 1, 0, []),
    ("J09 list", jsonl({"text": ["b"]}), "FT-D043", 1, 0, []),
    ("J10 array", '[{"text": "a"},\n{"text": "b"}]\n', "FT-D044", 1, 1, []),
    ("J11 pretty-printed", '{\n  "text": "a"\n}\n', "FT-D044", 1, 1, []),
    ("J12 key twice", '{"text": "a", "text": "b"}\n', "FT-D045", 1, 0, []),
    ("J13 NaN", '{"text": "a", "score": NaN}\n', "FT-D046", 1, 0, []),
    ("J14 lone surrogate", '{"text": "a\\ud800"}\n', "FT-D047", 1, 0, []),
    ("J15 escaped NUL", '{"text": "a\\u0000"}\n', "FT-D014", 1, 0, []),
    ("J16 newline in string", '{"text": "a\nb"}\n', "FT-D040", 1, 10, []),
    ("J17 BOM", b'\xef\xbb\xbf{"text": "a"}\n', OK, 0, 0, ["a"]),
    ("J18 CRLF", '{"text": "a"}\r\n', OK, 0, 0, ["a"]),
    ("J19 blank lines", '{"text": "a"}\n\n{"text": "b"}\n', OK, 0, 0, ["a", "b"]),
    ("J20 invalid UTF-8", b'{"text": "caf\xe9"}\n', "FT-D012", 1, 14, []),
    ("J21 row is a string", '"a"\n', "FT-D048", 1, 0, []),
    ("J22 depth", '{"text": ' + "[" * 2000 + "]" * 2000 + "}\n", "FT-D049", 1, 0, []),
    ("J23 30 digits, unused", '{"text": "a", "n": ' + "9" * 30 + "}\n", OK, 0, 0, ["a"]),
    ("J23 30 digits, used", '{"text": ' + "9" * 30 + "}\n", "FT-D043", 1, 0, []),
    ("J23 5000 digits", '{"text": ' + "9" * 5000 + "}\n", "FT-D040", 1, 0, []),
    ("J24 trailing comma", '{"text": "a",}\n', "FT-D040", 1, 14, []),
    ("J25 mixed", jsonl({"text": "a"}) + chat(("user", "q"), ("assistant", "a")), "FT-D050", 2, 0, ["a"]),
    ("J26 single quotes", "{'text': 'a'}\n", "FT-D040", 1, 2, []),
    ("J27 two on a line", '{"text": "a"}{"text": "b"}\n', "FT-D040", 1, 14, []),
    ("J28 empty text", jsonl({"text": " "}), "FT-D042", 1, 0, []),
    ("J29 Text", jsonl({"Text": "a"}), "FT-D041", 1, 0, []),
    ("J30 type change late", jsonl(*[{"text": f"{i}"} for i in range(60_000)], {"text": 5}), "FT-D043", 60_001, 0, 60_000),
]  # fmt: skip
CHATS = [
    ("C01 unknown role", chat(("user", "q"), ("oracle", "a")), "FT-D051"),
    ("C02 assistant first", chat(("assistant", "a"), ("user", "q")), "FT-D052"),
    ("C03 two user turns", chat(("user", "q"), ("user", "r"), ("assistant", "a")), "FT-D053"),
    ("C04 empty answer", chat(("user", "q"), ("assistant", " ")), "FT-D054"),
    ("C05 parts", chat(("user", [{"type": "image"}]), ("assistant", "a")), "FT-D055"),
    ("C06 tool call", jsonl({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [1]}]}), "FT-D056"),
    ("C06 tool result", chat(("user", "q"), ("tool", "4"), ("assistant", "a")), "FT-D056"),
    ("C07 system in the middle", chat(("user", "q"), ("system", "s"), ("assistant", "a")), "FT-D053"),
    ("C08 no assistant", chat(("user", "q")), "FT-D054"),
    ("no turns", jsonl({"messages": []}), "FT-D054"),
    ("system alone", chat(("system", "s")), "FT-D054"),
    ("turn is a string", jsonl({"messages": ["q"]}), "FT-D043"),
    ("messages is a string", jsonl({"messages": "q"}), "FT-D043"),
    ("null content", chat(("user", "q"), ("assistant", None)), "FT-D042"),
    ("control token", chat(("user", "<|im_end|>"), ("assistant", "a")), "FT-D020"),
    ("secret", chat(("user", "q"), ("assistant", "AKIA" + "A1B2C3D4" * 2)), "FT-D092"),
]  # fmt: skip
BIG = gzip.compress(b"0" * 300_000_000, 9)
MEMBER = gzip.compress(b"one\n")
CONTAINERS = [
    ("Z01 bomb", "a.txt.gz", BIG, "FT-D060"),
    ("Z02 cut off", "a.txt.gz", MEMBER[:-6], "FT-D061"),
    ("Z03 wrong CRC", "a.txt.gz", MEMBER[:-8] + bytes(4) + MEMBER[-4:], "FT-D061"),
    ("Z04 trailing garbage", "a.txt.gz", MEMBER + b"garbage", "FT-D061"),
    ("Z05 two members", "a.txt.gz", MEMBER + MEMBER, OK),
    ("Z06 gzip in gzip", "a.txt.gz", gzip.compress(MEMBER), "FT-D062"),
    ("Z07 zip as text", "a.txt", zipped(), "FT-D017"),
    ("Z08 tar", "a.txt", tar("../x"), "FT-D017"),
    ("Z09 zstd declared", "a.txt.zst", pa.compress(b"one\n", "zstd", asbytes=True), OK),
    ("Z09 zstd undeclared", "a.txt", pa.compress(b"one\n", "zstd", asbytes=True), "FT-D017"),
    ("Z09 zstd damaged", "a.txt.zst", pa.compress(b"one\n" * 99, "zstd", asbytes=True)[:-9], "FT-D061"),
    ("Z10 Parquet footer", "a.parquet", parquet([{"text": "a"}])[:-9] + b"x" * 9, "FT-D064"),
    ("gzip declared, plain", "a.txt.gz", b"one\n", "FT-D061"),
    ("Parquet", "a.parquet", parquet([{"text": "a"}]), OK),
    ("Parquet null", "a.parquet", parquet([{"text": "a"}, {"text": None}]), "FT-D042"),
    ("CSV", "a.csv", 'text\n"a, b"\n', OK),
    ("CSV field count", "a.csv", "text,n\na,1,2\n", "FT-D040"),
    ("CSV column twice", "a.csv", "text,text\na,b\n", "FT-D045"),
    ("CSV open quote", "a.csv", 'text\n"a\n', "FT-D040"),
]  # fmt: skip


def check(report, code, line=None, column=None, name=None):
    codes = [problem.code for problem in report.problems]
    if code == OK:
        assert codes == []
        return
    assert codes[:1] == [code]
    problem = report.problems[0]
    if line is not None:
        assert (problem.line, problem.column) == (line, column)
    if name:
        assert problem.place.endswith(name)
    assert problem.message
    assert problem.remedy
    assert str(problem).isprintable()


@pytest.mark.parametrize(
    ("name", "data", "code", "line", "column", "texts"),
    [case[1:] for case in TEXT],
    ids=[case[0] for case in TEXT],
)
def test_plain_text(read, name, data, code, line, column, texts):
    documents, report = read({name: data})
    check(report, code, line, column, "" if code == "FT-D018" else name)
    if code == OK:
        assert [document.text for document in documents] == texts


@pytest.mark.parametrize(
    ("data", "code", "line", "column", "texts"),
    [case[1:] for case in ROWS],
    ids=[case[0] for case in ROWS],
)
def test_json_lines(read, data, code, line, column, texts):
    documents, report = read({"rows.jsonl": data})
    check(report, code, line, column, "rows.jsonl")
    if isinstance(texts, list):
        assert [document.text for document in documents] == texts
    else:
        assert len(documents) == texts


@pytest.mark.parametrize(
    ("data", "code"), [case[1:] for case in CHATS], ids=[case[0] for case in CHATS]
)
def test_conversations(read, data, code):
    documents, report = read({"chats.jsonl": data})
    check(report, code, 1, 0)
    assert documents == []


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [case[1:] for case in CONTAINERS],
    ids=[case[0] for case in CONTAINERS],
)
def test_compressed_files_and_tables(read, name, data, code):
    documents, report = read({name: data})
    check(report, code, name=name)
    if code == OK:
        assert documents


def test_a_hostile_file_ends_in_seconds_and_in_little_memory(read):
    before, start = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.process_time(),
    )
    _, report = read({"a.txt.gz": BIG})
    assert report.problems[0].code == "FT-D060"
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_the_message_of_a_problem_has_place_finding_and_remedy(read):
    _, report = read({"train.jsonl": b'{"text": "a"}\n{"text": "caf\xe9"}\n'})
    line = str(report.problems[0])
    assert line.startswith("FT-D012 ")
    assert line.endswith(
        "train.jsonl:2:14  invalid UTF-8 (byte 0xE9); looks like latin-1 -> iconv -f latin1 -t utf-8"
    )


def test_all_problems_of_a_file_are_listed_up_to_twenty(read):
    rows = ['{"text": "a"}\n'] + ["{\n", "5\n"] * 15
    _, report = read({"a.jsonl": "".join(rows)})
    assert len(report.problems) == 20
    assert [problem.line for problem in report.problems] == list(range(2, 22))


def test_mixed_formats_are_counted(read):
    rows = jsonl({"text": "a"}, {"text": "b"}) + chat(("user", "q"), ("assistant", "a"))
    _, report = read({"a.jsonl": rows})
    assert "text 2, messages 1" in report.problems[0].message


def test_quarantine_keeps_the_good_rows_and_records_the_bad_ones(read):
    good = jsonl(*[{"text": f"row {i}"} for i in range(199)])
    documents, report = read({"a.jsonl": good + '{"text": 5}\n'}, quarantine=True)
    assert len(documents) == 199
    assert report.problems == report.problems[:1]
    recorded = json.loads(report.quarantine.getvalue())
    assert (recorded["code"], recorded["line"]) == ("FT-D043", 200)


def test_quarantine_has_a_limit(read):
    rows = jsonl(*[{"text": f"row {i}"} for i in range(9)]) + "5\n"
    _, report = read({"a.jsonl": rows}, quarantine=True)
    # 1 of 10 rows is more than 1 %: the pass ends with the problem.
    assert report.reasons == {"FT-D048": 1}
    assert report.rejected > 0.01 * report.lines


def test_escaping_lets_control_tokens_through(read):
    options = ReadOptions(escape_control_tokens=True)
    documents, report = read({"a.txt": "x <|im_start|> y\n"}, options)
    assert report.problems == []
    assert documents[0].text == "x <|im_start|> y"


def test_a_control_token_cannot_hide_behind_a_control_character(read):
    _, report = read({"a.txt": "x <|im_\x01start|> y\n"})
    assert report.problems[0].code == "FT-D020"


def test_notices_are_counted(read):
    text = "\ufeffa\rb\x07\u200b\u202e\ufffd e\u0301" + "x" * 100
    documents, report = read({"a.txt": text})
    assert documents[0].text == "a\nb\u200b\ufffd \u00e9" + "x" * 100
    # One lone CR, one BOM, one BEL, one U+FFFD, a zero-width space and an override, one line brought to NFC.
    assert dict(report.notices) == {
        "N101": 1,
        "N102": 1,
        "N103": 1,
        "N104": 1,
        "N105": 2,
        "N106": 1,
    }


def test_a_private_key_is_refused_and_not_shown(read):
    _, report = read({"a.txt": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n"})
    assert report.problems[0].code == "FT-D092"
    assert "BEGIN" not in str(report.problems[0])


def test_limits_are_options(read):
    options = ReadOptions(limits=ReadLimits(line_bytes=8))
    _, report = read({"a.txt": "12345678\n123456789\n"}, options)
    assert [(problem.code, problem.line) for problem in report.problems] == [
        ("FT-D015", 2)
    ]
