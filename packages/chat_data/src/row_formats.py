"""What a row means: which of the known formats it has, and the document in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.problems import shown

Row = Mapping[str, object]


class RowProblem(Exception):
    """A row that cannot be used. Caught by the reader, which knows file and line."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = f"FT-{code}", message, remedy


@dataclass(frozen=True)
class RowFormat:
    """A published layout of rows.

    Args:
        required: for each field its accepted names, the usual one first.
        optional: fields that are read when they are there.
    """

    name: str
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()

    def fits(self, row: Row) -> bool:
        """Whether every required field is there under one of its names."""
        # Run for every row: plain loops take a third of the time of all(any(...)).
        for names in self.required:
            for name in names:
                if name in row:
                    break
            else:
                return False
        return True

    @cached_property
    def used(self) -> frozenset[str]:
        """Every key that carries something into the document."""
        return frozenset(name for names in self.required for name in names).union(
            self.optional
        )

    def missing(self, row: Row) -> list[str]:
        """The usual names of the required fields that the row lacks."""
        return [
            names[0]
            for names in self.required
            if not any(name in row for name in names)
        ]


# In this order: a chat row may carry a `text` column with the rendered conversation, and means the chat.
FORMATS = (
    RowFormat("messages", (("messages",),)),
    RowFormat("sharegpt", (("conversations", "conversation"),), ("system",)),
    RowFormat(
        "alpaca", (("instruction",), ("output", "response")), ("input", "system")
    ),
    RowFormat(
        "prompt_completion", (("prompt",), ("completion", "response")), ("system",)
    ),
    RowFormat("question_answer", (("question",), ("answer",)), ("system",)),
    RowFormat("text", (("text",),)),
)
_FORMAT_BY_NAME = {found.name: found for found in FORMATS}
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_TYPE_NAMES = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


def detect_format(row: Row) -> RowFormat | None:
    """The first format whose required fields the row has."""
    return next((found for found in FORMATS if found.fits(row)), None)


def named_format(name: str) -> RowFormat:
    """The format of that name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if name not in _FORMAT_BY_NAME:
        raise ValueError(
            f"data.format is {name!r}. Expected auto or one of: {', '.join(_FORMAT_BY_NAME)}."
        )
    return _FORMAT_BY_NAME[name]


def row_document(
    row: Row, row_format: RowFormat, where: str, *, merge_turns: bool = False
) -> Document:
    """The document in a row of this format.

    Raises:
        RowProblem: a field is missing, empty or of another type, or the turns make no conversation.
    """
    if missing := row_format.missing(row):
        raise _missing_field(row, missing[0])
    match row_format.name:
        case "text":
            return Document((), _filled(row, "text"), where)
        case "messages":
            turns = _turns(row, "messages", "role", "content")
        case "sharegpt":
            turns = _system(row) + _turns(
                row, _present(row, row_format.required[0]), "from", "value"
            )
        case "alpaca":
            extra = _string(row, "input") if row.get("input") is not None else ""
            instruction = _filled(row, "instruction")
            prompt = f"{instruction}\n\n{extra}" if extra.strip() else instruction
            turns = _exchange(row, prompt, _present(row, row_format.required[1]))
        case _:
            turns = _exchange(
                row,
                _filled(row, row_format.required[0][0]),
                _present(row, row_format.required[1]),
            )
    return Document(_checked_turns(turns, merge_turns), "", where)


def ignored_keys(row: Row, row_format: RowFormat) -> int:
    """How many keys of the row carry nothing into the document."""
    return len(row.keys() - row_format.used)


def _exchange(row: Row, prompt: str, answer_field: str) -> list[Message]:
    answer = _string(row, answer_field)
    if not answer.strip():
        raise RowProblem(
            "D054",
            f'"{answer_field}" is empty: nothing to learn',
            "fill it or remove the row",
        )
    return [*_system(row), Message("user", prompt), Message("assistant", answer)]


def _system(row: Row) -> list[Message]:
    system = row.get("system")
    if system is None or system == "":
        return []
    return [Message("system", _string(row, "system"))]


def _turns(row: Row, field: str, role_key: str, content_key: str) -> list[Message]:
    items = row[field]
    if not isinstance(items, list):
        raise RowProblem(
            "D043",
            f'"{field}" is {_type_name(items)}, expected an array of turns',
            "fix the row",
        )
    turns = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise RowProblem(
                "D043",
                f"turn {number} is {_type_name(item)}, expected an object",
                "fix the row",
            )
        keys = (role_key, content_key) if role_key in item else ("role", "content")
        turns.append(_turn(item, number, *keys))
    return turns


def _turn(
    item: dict[str, object], number: int, role_key: str, content_key: str
) -> Message:
    role = item.get(role_key)
    if (
        item.get("tool_calls")
        or item.get("function_call")
        or role in ("tool", "function", "ipython")
    ):
        remedy = "remove the row: tool calls are not trained"
        raise RowProblem(
            "D056", f"turn {number} is a tool call or a tool result", remedy
        )
    if not isinstance(role, str) or role.lower() not in _ROLES:
        found = shown(repr(role), 40)
        raise RowProblem(
            "D051",
            f"turn {number} has the role {found}",
            "use system, user or assistant",
        )
    content = item.get(content_key)
    if isinstance(content, list):
        message = f"the content of turn {number} is a list of parts"
        raise RowProblem(
            "D055", message, "use plain text: images and audio cannot be trained"
        )
    if not isinstance(content, str):
        message = (
            f"the content of turn {number} is {_type_name(content)}, expected a string"
        )
        raise RowProblem("D042" if content is None else "D043", message, "fix the row")
    return Message(_ROLES[role.lower()], content)


def _checked_turns(turns: list[Message], merge: bool) -> tuple[Message, ...]:
    if merge:
        turns = _merged(turns)
    if not any(turn.role == "assistant" for turn in turns):
        raise RowProblem(
            "D054",
            "no assistant turn: nothing to learn",
            "add the answer or remove the row",
        )
    talk = turns[1:] if turns[0].role == "system" else turns
    for number, turn in enumerate(talk, start=1 + len(turns) - len(talk)):
        expected = ("user", "assistant")[(number - 1 - (len(turns) - len(talk))) % 2]
        if turn.role == expected:
            if not turn.content.strip():
                code, reason = (
                    ("D054", "nothing to learn")
                    if turn.role == "assistant"
                    else ("D042", "no text")
                )
                raise RowProblem(
                    code,
                    f"the {turn.role} turn {number} is empty: {reason}",
                    "fill it or remove the row",
                )
            continue
        if talk[0] is turn:
            raise RowProblem(
                "D052",
                f"the conversation starts with {turn.role}",
                "start it with a user turn",
            )
        message = f"turn {number} is {turn.role}, expected {expected}"
        raise RowProblem(
            "D053", message, "alternate user and assistant, or set merge_turns"
        )
    return tuple(turns)


def _merged(turns: list[Message]) -> list[Message]:
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Message(turn.role, f"{merged[-1].content}\n\n{turn.content}")
        else:
            merged.append(turn)
    return merged


def _missing_field(row: Row, field: str) -> RowProblem:
    names = [str(key) for key in row]
    near = get_close_matches(
        field, [name.strip().lower() for name in names], n=1, cutoff=0.7
    )
    has = f"it has {shown(', '.join(names), 80)}" if names else "it is empty"
    if near:
        original = next(name for name in names if name.strip().lower() == near[0])
        return RowProblem(
            "D041",
            f'no "{field}"; did you mean "{shown(original, 40)}"?',
            f'rename it to "{field}"',
        )
    return RowProblem(
        "D041", f'no "{field}"; {has}', f'add "{field}" or remove the row'
    )


def _present(row: Row, names: tuple[str, ...]) -> str:
    return next(name for name in names if name in row)


def _filled(row: Row, field: str) -> str:
    value = _string(row, field)
    if not value.strip():
        raise RowProblem("D042", f'"{field}" is empty', "fill it or remove the row")
    return value


def _string(row: Row, field: str) -> str:
    value = row[field]
    if isinstance(value, str):
        return value
    if value is None:
        raise RowProblem("D042", f'"{field}" is null', "fill it or remove the row")
    raise RowProblem(
        "D043",
        f'"{field}": expected string, got {_type_name(value)}',
        "write it as a string",
    )


def _type_name(value: object) -> str:
    return (
        "null" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)
    )
