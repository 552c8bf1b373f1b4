from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.passages import passages
from packages.chat_data.src.text_blocks import TextBlock


def cut(text, longest):
    return [
        (one.text, one.where)
        for one in passages(iter([TextBlock(text, 1)]), "a.md", longest)
    ]


def test_a_short_file_is_one_document():
    assert cut("# Title\n\nText.\n", 100) == [("# Title\n\nText.", "a.md:1")]


def test_a_cut_falls_on_the_last_empty_line_that_fits():
    # 12 characters fit: "aaaa\n\nbbbb\n\n" has its last empty line behind b, in the second half.
    assert cut("aaaa\n\nbbbb\n\ncccc\n", 12) == [
        ("aaaa\n\nbbbb", "a.md:1"),
        ("cccc", "a.md:5"),
    ]


def test_without_an_empty_line_a_cut_falls_on_a_line_end():
    assert cut("aaaa\nbbbb\ncccc\n", 11) == [
        ("aaaa\nbbbb", "a.md:1"),
        ("cccc", "a.md:3"),
    ]


def test_one_long_line_stays_whole():
    assert cut("aaaaaaaa\nb\n", 4) == [("aaaaaaaa", "a.md:1"), ("b", "a.md:2")]


def test_the_place_is_the_first_line_with_text_and_keeps_its_indentation():
    assert cut("\n  \n    code\n", 100) == [("    code", "a.md:3")]


def test_white_space_alone_gives_no_document():
    assert cut(" \n\t\n", 100) == []


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["", "a", "bb b", "  c", "d" * 30]), max_size=40),
    longest=st.integers(1, 40),
    pieces=st.integers(1, 5),
)
def test_no_text_is_lost_and_places_are_right_however_the_file_is_blocked(
    lines, longest, pieces
):
    blocks, step = [], max(1, len(lines) // pieces)
    for start in range(0, len(lines), step):
        text = "".join(f"{line}\n" for line in lines[start : start + step])
        blocks.append(TextBlock(text, start + 1))
    documents = list(passages(iter(blocks), "a.txt", longest))
    assert "".join("".join(one.text.split()) for one in documents) == "".join(
        "".join(lines).split()
    )
    for one in documents:
        number = int(one.where.split(":")[1])
        assert one.text.startswith(lines[number - 1].rstrip())
        assert len(one.text) <= longest or "\n" not in one.text
