"""Fragments of HTML hold text of users as text."""

import html

from hypothesis import given
from hypothesis import strategies as st

from packages.qwen_ft.src.card_html import escaped, masked_tokens, pairs, table


@given(st.text())
def test_escaped_text_holds_no_markup_and_reads_the_same(text: str) -> None:
    safe = escaped(text)
    bare = safe.replace("<br>", "")
    assert not set("<>\"'`*[]|\\\n") & set(bare)
    again = html.unescape(safe.replace("<br>", "\n")).replace("\u00a0\u00a0", "\t")
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    # html.unescape follows HTML5 and replaces characters that a page cannot hold, NUL among them.
    assert again == html.unescape(html.escape(expected)).replace("\u00a0\u00a0", "\t")


def test_a_table_without_headers_has_no_head() -> None:
    assert "<thead>" not in table([["a"]])
    assert "<thead>" in table([["a"]], ["b"])


def test_pairs_escape_both_sides() -> None:
    assert "&lt;a&gt;" in pairs([("<a>", "b")])
    assert "&lt;b&gt;" in pairs([("a", "<b>")])


def test_a_line_end_inside_a_token_is_visible_and_breaks_the_line() -> None:
    assert "a↵<br>b" in masked_tokens(["a\nb"], [True])
