"""One training example before tokenization: a conversation, or a piece of plain text."""

import hashlib
import unicodedata
from dataclasses import dataclass

# Between fields and turns of the hashed form. Both are C0 controls, which no validated text contains.
_FIELD, _TURN = "\x1f", "\x1e"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """Exactly one of `messages` and `text` is non-empty.

    Args:
        messages: the turns of a conversation, in order.
        text: plain text, every token of which is learned.
        where: the origin a person can open: "file:line", or "module.object" of the starter corpus.

    Raises:
        ValueError: both or neither of `messages` and `text` are given.
    """

    messages: tuple[Message, ...]
    text: str
    where: str

    def __post_init__(self) -> None:
        if bool(self.messages) == bool(self.text):
            found = (
                "both messages and text" if self.text else "neither messages nor text"
            )
            raise ValueError(
                f"The document at {self.where} has {found}. Give exactly one of them."
            )

    @property
    def characters(self) -> int:
        """Code points of all content, roles not counted."""
        return len(self.text) + sum(len(message.content) for message in self.messages)


def normalized_content(document: Document) -> str:
    """The content with case, Unicode form and white space made equal; turns keep their roles."""
    turns = (
        (
            f"{message.role}{_FIELD}{_normalized(message.content)}"
            for message in document.messages
        )
        if document.messages
        else (_normalized(document.text),)
    )
    return _TURN.join(turns)


def document_key(document: Document) -> str:
    """sha256 hex of the normalized content: exact and normalized duplicates share it."""
    return hashlib.sha256(normalized_content(document).encode()).hexdigest()


def _normalized(text: str) -> str:
    if text.isascii():
        # The same result in a fifth of the time.
        return " ".join(text.lower().split())
    # Case folding can undo NFC (U+0345 is one case), hence the second normalization.
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())
