"""What the starter model is pretrained on: the standard library's English outside its docstrings.

Invariant: no text here equals an answer of `starter://python-docs`, so fine-tuning has something
left to learn. Docstrings of modules are in; those of functions and classes are the answers.
"""

import ast
import html
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packages.chat_data.src.document import Document, Message, document_key
from packages.chat_data.src.starter_corpus import starter_documents

# Byte-code tables and generated codecs: hardly a sentence in 3 MB.
SKIPPED_FOLDERS = frozenset({"site-packages", "__pycache__", "encodings"})
PLAIN_FILES = (
    "LICENSE.txt",
    "idlelib/NEWS.txt",
    "idlelib/README.txt",
    "idlelib/TODO.txt",
)
MIN_COMMENT_WORDS = 5
MAX_QUESTION_CHARACTERS = 200
# One comment in three is asked for, the others are plain text: 30 % of the characters are chat.
COMMENTS_PER_CHAT = 3
CHATS_PER_SYSTEM_TURN = 4
SYSTEM_TURN = Message("system", "You are a helpful assistant.")

_MARKUP = re.compile(r"<[^>]+>")
_RULER = re.compile(r"[-=#*~_+]{4,}")


@dataclass(frozen=True, slots=True)
class CommentBlock:
    """Adjoining comment lines as one text, and the line of code below them (empty if none)."""

    text: str
    code: str


def pretraining_documents() -> list[Document]:
    """Plain texts and chats in a fixed order, without repeats and the answers of the corpus."""
    answers = {_key(document.messages[-1].content) for document in starter_documents()}
    seen = set(answers)
    kept: list[Document] = []
    for document in _all_documents():
        key = _key(document.text or document.messages[-1].content)
        if key not in seen:
            seen.add(key)
            kept.append(document)
    return kept


def _key(text: str) -> str:
    return document_key(Document((), text, ""))


def _all_documents() -> Iterator[Document]:
    library = Path(sysconfig.get_path("stdlib"))
    yield from _language_reference(library)
    chats = 0
    for path in sorted(library.rglob("*.py")):
        where = path.relative_to(library).as_posix()
        if SKIPPED_FOLDERS & set(path.relative_to(library).parts):
            continue
        source = path.read_text(encoding="utf-8", errors="replace")
        yield from _module_docstring(source, where)
        for number, block in enumerate(comment_blocks(source)):
            if block.code and number % COMMENTS_PER_CHAT == 0:
                chats += 1
                yield _chat(
                    f"What is this code for?\n{block.code}", block.text, where, chats
                )
            else:
                yield Document((), block.text, where)


def _chat(question: str, answer: str, where: str, number: int) -> Document:
    turns = (Message("user", question), Message("assistant", answer))
    return Document(
        (SYSTEM_TURN, *turns) if number % CHATS_PER_SYSTEM_TURN == 0 else turns,
        "",
        where,
    )


def _language_reference(library: Path) -> Iterator[Document]:
    from pydoc_data.topics import topics

    for number, (name, text) in enumerate(sorted(topics.items())):
        title, _, body = text.strip().partition("\n")
        yield Document((), text.strip(), f"pydoc_data.topics:{name}")
        first = next(
            (
                part
                for part in body.split("\n\n")
                if len(part.split()) > MIN_COMMENT_WORDS
            ),
            "",
        )
        if first:
            question = f"What does the language reference say about {title.strip('* ').lower()}?"
            yield _chat(
                question, " ".join(first.split()), f"pydoc_data.topics:{name}", number
            )
    for name in PLAIN_FILES:
        if (path := library / name).is_file():
            yield Document((), path.read_text(encoding="utf-8").strip(), name)
    if (path := library / "idlelib/help.html").is_file():
        text = html.unescape(_MARKUP.sub("", path.read_text(encoding="utf-8")))
        yield Document(
            (), re.sub(r"\n\s*\n+", "\n\n", text).strip(), "idlelib/help.html"
        )


def _module_docstring(source: str, where: str) -> Iterator[Document]:
    docstring = _docstring_of(source)
    if not docstring:
        return
    yield Document((), docstring, where)
    first = " ".join(docstring.split("\n\n")[0].split())
    if len(first.split()) >= MIN_COMMENT_WORDS:
        name = where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        yield _chat(f"What is the module {name} for?", first, f"{where}:1", len(name))


def _docstring_of(source: str) -> str | None:
    if '"""' not in source[:4000]:
        return None
    try:
        return ast.get_docstring(ast.parse(source))
    except (
        SyntaxError,
        ValueError,
    ):  # lib2to3 and the parser's tests keep broken files
        return None


def comment_blocks(source: str) -> Iterator[CommentBlock]:
    """Every run of comment lines with at least `MIN_COMMENT_WORDS` words, rulers removed."""
    lines: list[str] = []
    for line in [*source.splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("#"):
            lines.append(_RULER.sub("", stripped.lstrip("#!: ")).strip())
            continue
        text = "\n".join(lines).strip()
        lines = []
        if len(text.split()) >= MIN_COMMENT_WORDS and "coding:" not in text:
            yield CommentBlock(text, stripped[:MAX_QUESTION_CHARACTERS])
