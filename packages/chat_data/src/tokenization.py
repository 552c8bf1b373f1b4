"""Documents to token ids and a mask of the learned tokens.

Invariant: the ids of plain text decode to the same bytes, control tokens come from the template alone, and the first
token of a row is never scored, since nothing stands before it.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from packages.chat_data.src.chat_template import ChatTemplate, RenderedChat
from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.problems import Problem
from packages.cloud.src.exit_codes import EX_CONFIG, UserError

END_OF_TEXT = "<|endoftext|>"
OVER_LENGTH = ("truncate", "drop", "fail", "chunk")
# Stands for a control token inside user text while the template is rendered; a private-use character.
_SENTINEL = "\ue0f7"


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """One training row.

    Args:
        ids: (tokens,), uint32.
        scored: (tokens,), bool: the token is a label. Never the first one.
        scored_bytes: UTF-8 bytes of the scored text. Control tokens count 0.
    """

    ids: npt.NDArray[np.uint32]
    scored: npt.NDArray[np.bool_]
    scored_bytes: int


@dataclass(frozen=True)
class TokenRules:
    """Everything but the tokenizer that decides the tokens of a document.

    Args:
        max_tokens: longest row.
        over_length: what happens to a longer document: truncate, drop, fail, or chunk into adjoining rows.
        train_on_prompt: learn the whole conversation instead of the assistant's turns.
        system_message: given to each conversation without a system turn; None leaves it to the template.
        escape_control_tokens: control tokens in user text become plain text instead of FT-D020.
    """

    max_tokens: int
    over_length: str = "chunk"
    train_on_prompt: bool = False
    system_message: str | None = None
    escape_control_tokens: bool = False

    def __post_init__(self) -> None:
        if self.over_length not in OVER_LENGTH:
            raise ValueError(
                f"over_length is {self.over_length!r}. Expected one of {', '.join(OVER_LENGTH)}."
            )
        if self.max_tokens < 2:
            raise ValueError(
                f"max_tokens is {self.max_tokens}. Expected at least 2: a token and what predicts it."
            )


def encode_document(
    tokenizer: Any,
    document: Document,
    *,
    train_on_prompt: bool,
    system_message: str | None,
    max_tokens: int,
) -> TokenizedDocument:
    """The tokens of one document, cut after `max_tokens`.

    Raises:
        ValueError: no token of it is scored, or it holds a control token.
    """
    rules = TokenRules(max_tokens, "truncate", train_on_prompt, system_message)
    rows = DocumentEncoder(tokenizer, rules).encode([document])[0]
    if isinstance(rows, Problem):
        raise ValueError(str(rows))
    return rows[0]


class DocumentEncoder:
    """Encodes batches on all cores. Counts what was shortened or left out in `changes`.

    Args:
        tokenizer: a fast tokenizer of transformers with a byte-level vocabulary, such as Qwen's.

    Raises:
        UserError: another kind of tokenizer, or one whose padding token ends sequences too.
    """

    def __init__(self, tokenizer: Any, rules: TokenRules) -> None:
        self._tokenizer, self._rules = tokenizer, rules
        self._plain = _backend(tokenizer, escape=True)
        self._with_controls = _backend(tokenizer, escape=False)
        self._byte_counts, self._control_bytes = _bytes_per_token(self._plain)
        self._end_of_text = _end_of_text_id(tokenizer)
        controls = "|".join(map(re.escape, control_tokens(tokenizer))) or "(?!)"
        self._controls = re.compile(controls)
        self._hidden = re.compile(f"{controls}|{_SENTINEL}")
        self.changes: Counter[str] = Counter()

    @cached_property
    def _template(self) -> ChatTemplate:
        rules = self._rules
        return ChatTemplate(
            self._tokenizer,
            train_on_prompt=rules.train_on_prompt,
            system_message=rules.system_message,
        )

    def encode(
        self, documents: Sequence[Document]
    ) -> list[list[TokenizedDocument] | Problem]:
        """For each document its rows (none if it was dropped), or why it cannot be used."""
        results: list[list[TokenizedDocument] | Problem | None] = [None] * len(
            documents
        )
        texts = [i for i, document in enumerate(documents) if document.text]
        for i, ids in zip(
            texts, self._encode_texts([documents[i].text for i in texts]), strict=True
        ):
            results[i] = self._text_rows(documents[i], ids)
        chats = [i for i, document in enumerate(documents) if document.messages]
        plain = []
        for i in chats:
            found = next(
                (
                    f
                    for m in documents[i].messages
                    if (f := self._controls.search(m.content))
                ),
                None,
            )
            if found is None:
                plain.append(i)
            elif self._rules.escape_control_tokens:
                results[i] = self._escaped_rows(documents[i])
            else:
                results[i] = _control_token_problem(documents[i], found.group())
        rendered = [self._template.render(documents[i].messages) for i in plain]
        encodings = self._with_controls.encode_batch(
            [chat.text for chat in rendered], add_special_tokens=False
        )
        for i, chat, encoding in zip(plain, rendered, encodings, strict=True):
            ids = np.array(encoding.ids, np.uint32)
            if int(
                self._byte_counts[ids].sum() + self._control_bytes[ids].sum()
            ) != len(chat.text.encode()):
                results[i] = _lossy(documents[i])
            else:
                results[i] = self._rows(
                    documents[i], ids, _scored_tokens(chat, encoding)
                )
        return [result for result in results if result is not None]

    def _encode_texts(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        encodings = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def _text_rows(
        self, document: Document, ids: npt.NDArray[np.uint32]
    ) -> list[TokenizedDocument] | Problem:
        if not self._rules.escape_control_tokens and (
            found := self._controls.search(document.text)
        ):
            return _control_token_problem(document, found.group())
        if int(self._byte_counts[ids].sum()) != len(document.text.encode()):
            return _lossy(document)
        ids = np.append(ids, np.uint32(self._end_of_text))
        return self._rows(document, ids, np.ones(len(ids), np.bool_))

    def _escaped_rows(self, document: Document) -> list[TokenizedDocument] | Problem:
        """Rows of a conversation that quotes control tokens: only those pieces are encoded apart."""
        quoted: list[str] = []

        def hide(found: re.Match[str]) -> str:
            quoted.append(found.group())
            return _SENTINEL

        hidden = [
            Message(turn.role, self._hidden.sub(hide, turn.content))
            for turn in document.messages
        ]
        chat = self._template.render(hidden)
        pieces = chat.text.split(_SENTINEL)
        ids: list[int] = []
        scored: list[bool] = []
        start = 0
        for number, piece in enumerate(pieces):
            encoding = self._with_controls.encode(piece, add_special_tokens=False)
            end = start + len(piece)
            shifted = tuple(
                (max(a, start) - start, min(b, end) - start)
                for a, b in chat.spans
                if max(a, start) < min(b, end)
            )
            ids += encoding.ids
            scored += _scored_tokens(RenderedChat(piece, shifted), encoding).tolist()
            start = end
            if number < len(quoted):
                inside = any(a <= start < b for a, b in chat.spans)
                literal = self._plain.encode(
                    quoted[number], add_special_tokens=False
                ).ids
                ids += literal
                scored += [inside] * len(literal)
                start += len(_SENTINEL)
        return self._rows(
            document, np.array(ids, np.uint32), np.array(scored, np.bool_)
        )

    def _rows(
        self,
        document: Document,
        ids: npt.NDArray[np.uint32],
        scored: npt.NDArray[np.bool_],
    ) -> list[TokenizedDocument] | Problem:
        limit, policy = self._rules.max_tokens, self._rules.over_length
        scored[0] = False
        if len(ids) > limit:
            self.changes[policy] += 1
            if policy == "fail":
                message = f"{len(ids):,} tokens, more than max_tokens = {limit:,}"
                return _problem(
                    "FT-D058",
                    document,
                    message,
                    "raise data.max_tokens or choose another over_length",
                )
            if policy == "drop":
                return []
        ends = range(limit, len(ids) + limit, limit) if policy == "chunk" else (limit,)
        rows = []
        for end in ends:
            window = slice(end - limit, end)
            row = self._row(ids[window], scored[window].copy())
            if row is None:
                self.changes["unscored_windows"] += len(ids) > limit
            else:
                rows.append(row)
        if not rows:
            message = "no token is left to learn from"
            if len(ids) > limit:
                message += f": the prompt alone fills max_tokens = {limit:,}"
            return _problem(
                "FT-D057",
                document,
                message,
                "raise data.max_tokens, or shorten or remove the document",
            )
        return rows

    def _row(
        self, ids: npt.NDArray[np.uint32], scored: npt.NDArray[np.bool_]
    ) -> TokenizedDocument | None:
        scored[0] = False
        labels = ids[scored]
        if not labels.size:
            return None
        return TokenizedDocument(ids, scored, int(self._byte_counts[labels].sum()))


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The strings that the tokenizer turns into control ids, longest first."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(
        sorted(
            (token.content for token in added if token.special),
            key=lambda text: (-len(text), text),
        )
    )


def _scored_tokens(chat: RenderedChat, encoding: Any) -> npt.NDArray[np.bool_]:
    """(tokens,), bool. A token that begins before a span, as one long run of line ends can, is not in it."""
    scored = np.zeros(len(encoding.ids), np.bool_)
    for start, end in chat.spans:
        first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
        if first is None or last is None:
            continue
        if encoding.token_to_chars(first)[0] < start:
            first += 1
        # The last of the tokens that share the last character.
        while last + 1 < len(scored) and encoding.token_to_chars(last + 1)[0] < end:
            last += 1
        scored[first : last + 1] = True
    return scored


def _backend(tokenizer: Any, *, escape: bool) -> Any:
    from tokenizers import Tokenizer

    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            "The base model has no fast tokenizer (tokenizer.json). Use one that has, such as Qwen's.",
            EX_CONFIG,
        )
    # A copy: truncation, padding and escaping are switches of the object, and the caller's stay as they are.
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = escape
    return copy


def _bytes_per_token(
    backend: Any,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """UTF-8 bytes per id, (vocabulary,): with control tokens as 0, and with them as their text."""
    decoder = json.loads(backend.to_str())["decoder"] or {}
    if decoder.get("type") != "ByteLevel":
        found = decoder.get("type", "none")
        raise UserError(
            f"The tokenizer has a {found} decoder. Expected ByteLevel BPE, as Qwen has.",
            EX_CONFIG,
        )
    vocabulary = backend.get_vocab(with_added_tokens=True)
    size = max(vocabulary.values()) + 1
    text, control = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for token, number in vocabulary.items():
        # In a byte-level vocabulary each character stands for one byte.
        text[number] = len(token)
    for number, added in backend.get_added_tokens_decoder().items():
        length = len(added.content.encode())
        text[number], control[number] = (0, length) if added.special else (length, 0)
    return text, control


def _end_of_text_id(tokenizer: Any) -> int:
    if (
        tokenizer.pad_token_id is None
        or tokenizer.pad_token_id == tokenizer.eos_token_id
    ):
        raise UserError(
            f"The tokenizer pads with {tokenizer.pad_token!r} and ends with {tokenizer.eos_token!r}. They must differ, "
            "or the model never learns to stop: set eos_token to <|im_end|> and pad_token to <|endoftext|>.",
            EX_CONFIG,
        )
    found = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    return int(found)


def _control_token_problem(document: Document, token: str) -> Problem:
    return _problem(
        "FT-D020",
        document,
        f"control token {token} inside text",
        "remove it, or set data.control_tokens=escape to keep it as plain text",
    )


def _lossy(document: Document) -> Problem:
    message = "the tokenizer does not give the text back byte for byte"
    return _problem(
        "FT-D059",
        document,
        message,
        "normalize the text to NFC, or use Qwen's own tokenizer",
    )


def _problem(code: str, document: Document, message: str, remedy: str) -> Problem:
    file, _, line = document.where.rpartition(":")
    if file and line.isdigit():
        return Problem(code, file, int(line), 0, message, remedy)
    return Problem(code, document.where, 0, 0, message, remedy)
