"""Text made safe to learn from: control characters, bidirectional tricks, control tokens, secrets.

Invariant: cleaning is idempotent, and text that `needs_cleaning` passes is returned unchanged.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from packages.chat_data.src.limits import ReadOptions

_STRIPPED = bytes(sorted(set(range(32)) - {0x09, 0x0A, 0x0B, 0x0C, 0x0D})) + b"\x7f"
_CONTROLS = _STRIPPED + b"\x0b\x0c\r"
# UTF-8 lead bytes of characters that may not be NFC. Below U+0300 everything is; E2 is looked at closer.
_NFC_DOUBT = bytes(sorted(set(range(0xCC, 0x100)) - {0xE2}))
_RARE_E2 = re.compile(
    rb"\xe2(?:\x80[\x80\x81\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xa9]|\x84[\xa6\xaa\xab]|\x8c[\xa9\xaa]|\xab\x9c)"
)
_ZERO_WIDTH = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_DROPPED_CONTROL = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
_SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b(?<!EXAMPLE)"
)


@dataclass(frozen=True)
class TextProblem:
    """A reason to refuse a text. `offset` counts characters from 0."""

    code: str
    offset: int
    message: str
    remedy: str


class TextRules:
    """The rules of one run, with everything compiled that a loop over gigabytes wants compiled."""

    def __init__(self, options: ReadOptions) -> None:
        tokens = () if options.escape_control_tokens else options.control_tokens
        self._reject_secrets = options.reject_secrets
        self._tokens = re.compile("|".join(map(re.escape, tokens))) if tokens else None
        # Looking for one rare byte runs at 20 GB/s, for two at 1 GB/s, for the alternatives at 0.1 GB/s.
        self._token_starts = sorted({token[:2].encode() for token in tokens})

    def needs_cleaning(self, text: str, data: bytes) -> bool:
        """Whether `clean` might change or refuse the text. `data` is the same text in UTF-8."""
        if len(data.translate(None, _CONTROLS)) != len(data):
            return True
        for start in self._token_starts:
            if start[:1] in data and start in data:
                return True
        if self._reject_secrets and (
            b"-----BEGIN" in data or b"AKIA" in data or b"ASIA" in data
        ):
            return True
        return not data.isascii() and _unusual_unicode(text, data)

    def clean(self, text: str, count: Callable[[str, int], None]) -> str | TextProblem:
        """The text to learn from, or why it is refused; each kind of change is counted by its notice code."""
        if "\x00" in text:
            return _problem(
                "D014",
                text.index("\x00"),
                "NUL byte in text",
                "remove it; is this a binary file?",
            )
        cleaned = _without_controls(text, count)
        # Before and after: dropping a control character can join the two halves of a token.
        return self._forbidden(text) or self._forbidden(cleaned) or cleaned

    def _forbidden(self, text: str) -> TextProblem | None:
        if self._tokens and (found := self._tokens.search(text)):
            message = f"control token {found.group()} inside text"
            return _problem(
                "D020",
                found.start(),
                message,
                "remove it, or set data.control_tokens=escape to keep it as plain text",
            )
        if self._reject_secrets and (found := _SECRET.search(text)):
            # The secret itself is never shown.
            return _problem(
                "D092",
                found.start(),
                "private key or access key in text",
                "remove it and revoke it, or set data.on_bad_row=quarantine to leave it out",
            )
        return None


def _unusual_unicode(text: str, data: bytes) -> bool:
    if b"\xe2" in data and _RARE_E2.search(data):
        return True
    if b"\xef" in data and (b"\xef\xbb\xbf" in data or b"\xef\xbf\xbd" in data):
        return True
    if len(data.translate(None, _NFC_DOUBT)) == len(data):
        return False
    return not unicodedata.is_normalized("NFC", text)


def _without_controls(text: str, count: Callable[[str, int], None]) -> str:
    if "\r" in text:
        lone = text.count("\r") - text.count("\r\n")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if lone:
            count("N101", lone)
    text, dropped = _DROPPED_CONTROL.subn("", text)
    dropped += text.count("\x0b") + text.count("\x0c")
    text, bidi = _BIDI.subn("", text.replace("\x0b", " ").replace("\x0c", " "))
    for code, changes in (
        ("N103", dropped),
        ("N104", text.count("\ufffd")),
        ("N105", bidi + len(_ZERO_WIDTH.findall(text))),
    ):
        if changes:
            count(code, changes)
    normal = unicodedata.normalize("NFC", text)
    if normal != text:
        count("N106", 1)
    return normal


def _problem(code: str, offset: int, message: str, remedy: str) -> TextProblem:
    return TextProblem(f"FT-{code}", offset, message, remedy)
