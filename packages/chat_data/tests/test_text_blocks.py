import io

from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.clean_text import TextRules
from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.problems import ReadReport
from packages.chat_data.src.text_blocks import line_blocks, text_blocks

LINES = st.lists(
    st.sampled_from(
        [b"a", b"bc d", b" ", b"\t", b"", "\u00e9\u4e2d".encode(), b"\xff"]
    ),
    max_size=30,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
PROPERTY = settings(derandomize=True, max_examples=300, deadline=None)


def chunked(data, size):
    return (data[start : start + size] for start in range(0, len(data), size))


@PROPERTY
@given(lines=LINES, end=ENDS, size=st.integers(1, 9))
def test_blocks_join_to_the_same_bytes_and_end_behind_line_ends(lines, end, size):
    data = end.join(lines)
    blocks = list(line_blocks(chunked(data, size), 1_000))
    assert b"".join(blocks) == data
    assert all(block.endswith((b"\n", b"\r")) for block in blocks[:-1])


@PROPERTY
@given(lines=LINES, end=ENDS, size=st.integers(3, 9), rules=st.booleans())
def test_counts_do_not_depend_on_the_size_of_the_chunks(lines, end, size, rules):
    data = b"x" + end + end.join(lines)
    reports = []
    for chunk in (size, 10_000):
        report = ReadReport(io.StringIO())
        text = "".join(
            block.text
            for block in text_blocks(
                chunked(data, chunk),
                "a.txt",
                report,
                1_000,
                TextRules(ReadOptions()) if rules else None,
            )
        )
        reports.append((text, report.lines, report.blank, report.rejected))
    assert reports[0] == reports[1]
    # Counted independently: the same text with one kind of line end, split by Python.
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    whole = text.split(b"\n")[: None if not text.endswith(b"\n") else -1]
    assert reports[0][1] == len(whole)
    assert reports[0][2] == sum(1 for line in whole if not line.strip())
    assert reports[0][3] == lines.count(b"\xff")


def test_a_line_over_the_limit_is_cut_not_kept():
    blocks = list(line_blocks(chunked(b"x" * 100_000 + b"\nab\n", 1_000), 10))
    assert b"".join(blocks) == b"x" * 11 + b"\nab\n"


def test_blocks_know_their_line_numbers():
    report = ReadReport()
    blocks = list(text_blocks(chunked(b"a\nb\nc\n", 2), "a.txt", report, 100, None))
    assert [(block.first_line, block.text) for block in blocks] == [
        (1, "a\n"),
        (2, "b\n"),
        (3, "c\n"),
    ]
