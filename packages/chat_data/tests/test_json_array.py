import pytest

GOOD = '[\n  {"text": "a"},\n  {\n    "text": "b"\n  }\n]\n'


def test_rows_of_an_array_have_the_line_they_begin_on(read):
    documents, report = read({"rows.json": GOOD})
    assert [(one.text, one.where) for one in documents] == [
        ("a", "rows.json:2"),
        ("b", "rows.json:3"),
    ]
    assert (report.lines, report.blank, report.problems) == (2, 0, [])


def test_a_json_file_may_hold_json_lines(read):
    documents, report = read({"rows.json": '{"text": "a"}\n{"text": "b"}\n'})
    assert len(documents) == 2
    assert report.problems == []


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        ('[{"text": "a"}', "FT-D013", 1, 15),
        ('[{"text": "a', "FT-D013", 1, 2),
        ('[\n{"text": "a"} {"text": "b"}]', "FT-D040", 2, 15),
        ('[\n{"text": "a"},\n]', "FT-D040", 3, 1),
        ('[{"text": x}]', "FT-D040", 1, 11),
        ('[{"text": "a"}] more', "FT-D040", 1, 17),
        ('[\n{"text": "a", "text": "b"}]', "FT-D045", 2, 0),
        ('[{"text": "a"},\n5]', "FT-D048", 2, 0),
        ('[{"text": ' + "[" * 5_000, "FT-D049", 1, 2),
        ("[" + '{"text": "' + "x" * 3_000_000, "FT-D015", 1, 0),
        ('{\n"text": "a"\n}', "FT-D044", 1, 1),
    ],
    ids=[
        "cut off", "cut in a row", "no comma", "trailing comma", "malformed", "text behind", "key twice", "number",
        "deep", "long", "one object",
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_array_is_named(read, data, code, line, column):
    _, report = read({"rows.json": data})
    problem = report.problems[0]
    assert (problem.code, problem.line, problem.column) == (code, line, column)


def test_an_array_larger_than_a_block_is_read_in_pieces(read):
    rows = ",\n".join('{"text": "%s"}' % ("x" * 999) for _ in range(3_000))
    documents, report = read({"rows.json": f"[{rows}]"})
    # 3 MB of rows in blocks of 1 MiB.
    assert len(documents) == report.lines == 3_000
    assert documents[-1].where == "rows.json:3000"
