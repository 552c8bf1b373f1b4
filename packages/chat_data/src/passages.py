"""Plain text to documents: neighbouring paragraphs together, up to a length, cut where a reader would cut.

Invariant: no character of the text is lost but white space at the borders of a document.
"""

import re
from collections.abc import Iterator

from packages.chat_data.src.document import Document
from packages.chat_data.src.text_blocks import TextBlock

_EMPTY_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")


def passages(
    blocks: Iterator[TextBlock], key: str, max_characters: int
) -> Iterator[Document]:
    """Documents of at most `max_characters`, unless one single line is longer.

    A cut falls on the last empty line of the second half, else on the last line end, of what would still fit.

    Args:
        blocks: clean text, in order and without gaps.
        key: the file, for `Document.where`.
    """
    rest, rest_line = "", 1
    for block in blocks:
        if rest:
            text, line = rest + block.text, rest_line
        else:
            text, line = block.text, block.first_line
        start = 0
        while len(text) - start > max_characters:
            end = _cut(text, start, start + max_characters)
            if end < 0:
                break
            if document := _document(text, start, end, key, line):
                yield document
            line += text.count("\n", start, end)
            start = end
        rest, rest_line = text[start:], line
    if document := _document(rest, 0, len(rest), key, rest_line):
        yield document


def _cut(text: str, start: int, limit: int) -> int:
    middle = start + (limit - start) // 2
    paragraph = text.rfind("\n\n", middle, limit)
    if paragraph >= 0:
        return paragraph + 2
    end = text.rfind("\n", start, limit)
    if end < 0:
        end = text.find("\n", limit)
    return end + 1 if end >= 0 else -1


def _document(text: str, start: int, end: int, key: str, line: int) -> Document | None:
    piece = text[start:end].rstrip()
    # The indentation of the first line is part of its meaning; empty lines before it are not.
    body = _EMPTY_LINES.sub("", piece)
    if not body:
        return None
    return Document(
        (), body, f"{key}:{line + piece.count(chr(10), 0, len(piece) - len(body))}"
    )
