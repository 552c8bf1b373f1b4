"""Conversations to the exact string a model is trained on, and which characters of it are learned.

Invariant: every scored span ends with the token that ends the turn, so that the model learns to stop.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from packages.chat_data.src.document import Message
from packages.chat_data.src.template_shape import (
    TemplateShape,
    copies_contents,
    shape_of,
)
from packages.cloud.src.exit_codes import EX_CONFIG, UserError

MAX_SHAPES = 1_000
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A conversation as text. `spans` are the half-open character ranges that are learned, in order."""

    text: str
    spans: tuple[tuple[int, int], ...]


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: of transformers, with a chat template.
        train_on_prompt: learn the whole conversation instead of the assistant's turns.
        system_message: put before every conversation that has no system turn.

    Raises:
        UserError: the tokenizer has no chat template.
    """

    def __init__(
        self, tokenizer: Any, *, train_on_prompt: bool, system_message: str | None
    ) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                "The data holds conversations, but the tokenizer of the base model has no chat template. Use an "
                "instruct model, or plain text as data.",
                EX_CONFIG,
            )
        self._template: str = tokenizer.chat_template
        self._variables = dict(tokenizer.special_tokens_map)
        self._specials = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        self._train_on_prompt = train_on_prompt
        self._system = (Message("system", system_message),) if system_message else ()
        self._marked = bool(_GENERATION.search(self._template))
        self._copies = copies_contents(self._template)
        self._shapes: dict[tuple[str, ...], TemplateShape] = {}

    def render(self, messages: Sequence[Message]) -> RenderedChat:
        """One conversation.

        Raises:
            UserError: the template refuses the turns, or rewrites earlier turns so that no span can be found.
        """
        turns = tuple(messages)
        if self._system and turns[0].role != "system":
            turns = self._system + turns
        if not self._copies:
            return self._rendered(turns)
        # A frame for each order of roles: 3 us a conversation where rendering takes 70, and twice that for each turn.
        roles = tuple(turn.role for turn in turns)
        shape = self._shapes.get(roles)
        if shape is None:
            if len(self._shapes) >= MAX_SHAPES:
                return self._rendered(turns)
            shape = self._shapes[roles] = shape_of(roles, self._text_and_spans)
        return RenderedChat(*shape.fill([turn.content for turn in turns]))

    def _rendered(self, turns: tuple[Message, ...]) -> RenderedChat:
        if self._train_on_prompt:
            text = self._apply(turns)
            return RenderedChat(text, ((0, len(text)),))
        return self._by_marks(turns) if self._marked else self._by_prefixes(turns)

    def _text_and_spans(
        self, turns: tuple[Message, ...]
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        chat = self._rendered(turns)
        return chat.text, chat.spans

    def _by_marks(self, turns: tuple[Message, ...]) -> RenderedChat:
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, marks = render_jinja_template(
            conversations=[_as_dicts(turns)],
            chat_template=self._template,
            return_assistant_tokens_mask=True,
            **self._variables,
        )
        text = texts[0]
        spans = tuple(
            (start, self._with_end_token(text, end)) for start, end in marks[0]
        )
        return RenderedChat(text, spans)

    def _by_prefixes(self, turns: tuple[Message, ...]) -> RenderedChat:
        text = self._apply(turns)
        spans = []
        for number, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            prompt = self._apply(turns[:number], generate=True)
            answered = (
                text if number == len(turns) - 1 else self._apply(turns[: number + 1])
            )
            if not answered.startswith(prompt) or not text.startswith(answered):
                raise UserError(
                    f"The chat template renders turn {number + 1} differently once more turns follow, so the "
                    "assistant's part cannot be told apart. Put {% generation %} marks into the template, or set "
                    "train_on_prompt.",
                    EX_CONFIG,
                )
            spans.append((len(prompt), self._end_of_turn(answered)))
        return RenderedChat(text, tuple(spans))

    def _end_of_turn(self, answered: str) -> int:
        end = len(answered.rstrip())
        if not answered[:end].endswith(tuple(self._specials)):
            raise UserError(
                "The chat template does not end an assistant turn with a special token, so the model would never "
                f"learn to stop. It ends with {answered[-20:]!r}. Use the template of the instruct model.",
                EX_CONFIG,
            )
        return end

    def _with_end_token(self, text: str, end: int) -> int:
        if text[:end].rstrip().endswith(tuple(self._specials)):
            return end
        following = next(
            (token for token in self._specials if text.startswith(token, end)), ""
        )
        if not following:
            return self._end_of_turn(text[:end])
        return end + len(following)

    def _apply(self, turns: tuple[Message, ...], *, generate: bool = False) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, _ = render_jinja_template(
            conversations=[_as_dicts(turns)],
            chat_template=self._template,
            add_generation_prompt=generate,
            **self._variables,
        )
        return str(rendered[0])


def _as_dicts(turns: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
