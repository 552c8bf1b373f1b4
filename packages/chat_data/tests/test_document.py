import hashlib
import unicodedata

import pytest

from packages.chat_data.src.document import (
    Document,
    Message,
    document_key,
    normalized_content,
)


def text_document(text: str) -> Document:
    return Document(messages=(), text=text, where="notes.txt:1")


def test_key_is_the_sha256_of_the_normalized_text():
    # Worked by hand: lower case, one space between words, none at the ends.
    expected = hashlib.sha256(b"how are you?").hexdigest()
    assert document_key(text_document("  How\n are\tYOU? ")) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Caf\u00e9", "cafe\u0301"),
        ("STRASSE", "stra\u00dfe"),
        ("a  b", "a\u00a0b"),
    ],
    ids=["NFC and NFD", "sharp s", "no-break space"],
)
def test_normalized_duplicates_share_the_key(left, right):
    assert document_key(text_document(left)) == document_key(text_document(right))


def test_roles_and_turn_borders_are_part_of_the_key():
    def conversation(*turns):
        return Document(tuple(Message(*turn) for turn in turns), "", "rows.jsonl:1")

    keys = {
        document_key(conversation(("user", "a b"), ("assistant", "c"))),
        document_key(conversation(("user", "a"), ("assistant", "b c"))),
        document_key(conversation(("assistant", "a"), ("user", "b c"))),
        document_key(text_document("a b c")),
    }
    assert len(keys) == 4


def test_the_origin_is_not_part_of_the_key():
    assert document_key(Document((), "a", "x:1")) == document_key(
        Document((), "a", "y:2")
    )


@pytest.mark.parametrize(
    "messages", [(), (Message("user", "a"),)], ids=["neither", "both"]
)
def test_a_document_has_either_messages_or_text(messages):
    with pytest.raises(ValueError, match="rows.jsonl:7"):
        Document(messages, "text" if messages else "", "rows.jsonl:7")


def test_ascii_text_has_the_key_that_the_general_rule_gives():
    # The general rule, written out: NFC, case folding, white space of Unicode.
    text = "".join(map(chr, range(1, 128)))
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    assert normalized_content(text_document(text)) == " ".join(folded.split())
