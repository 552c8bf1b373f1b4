"""Wrong settings as sentences: what was found, what was expected, what to do; all at once."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from packages.cloud.src.exit_codes import EX_CONFIG, UserError
from packages.qwen_ft.src.config_schema import expectation, keys_at, schema_at

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it. `line` counts from 1."""

    path: Path
    found: str
    expected: str
    do: str
    line: int | None = None

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line else []
        where += [dotted(self.path)] if self.path else []
        return ": ".join([*where, f"found {self.found}; expected {self.expected}; {self.do}"])


class ProblemsFound(ValueError):
    """Raised by a validator of a section. Paths are relative to that section."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def dotted(path: Path) -> str:
    """`("trials", 0, "lora.r")` as `trials[0].lora.r`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def refuse(problems: Iterable[Problem]) -> None:
    """Stop with one line per problem, in the order of the lines.

    Raises:
        UserError: there is at least one problem (exit code 78).
    """
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    if not ordered:
        return
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    listed = "\n".join(f"  {problem}" for problem in ordered)
    raise UserError(f"The configuration has {count}:\n{listed}", EX_CONFIG)


def validated(
    model: type[Model],
    value: object,
    lines: Mapping[Path, int] | None = None,
    problems: Sequence[Problem] = (),
) -> Model:
    """`value` as a `model`, a section that holds nothing standing for its defaults.

    Args:
        lines: where each key stands, if it came from a text.
        problems: what the text itself had wrong; reported together with the rest.

    Raises:
        UserError: `problems`, and all those of the value (exit code 78).
    """
    filled = value
    if isinstance(value, Mapping):
        filled = {k: {} if v is None and k in keys_at(model, ()) else v for k, v in value.items()}
    try:
        result = model.model_validate(filled)
    except ValidationError as error:
        refuse([*problems, *problems_of(model, filled, error, lines or {})])
        raise AssertionError("pydantic refused without a reason") from error
    refuse(problems)
    return result


def problems_of(
    model: type[BaseModel], value: object, error: ValidationError, lines: Mapping[Path, int]
) -> list[Problem]:
    """One problem per wrong key."""
    by_path: dict[Path, Problem] = {}
    for detail in error.errors():
        for problem in _describe(model, value, detail):
            line = next((lines[p] for p in _ancestors(problem.path) if p in lines), problem.line)
            located = Problem(problem.path, problem.found, problem.expected, problem.do, line)
            by_path.setdefault(located.path, located)
    return list(by_path.values())


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` was most likely meant to be."""
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return close[0] if close else None


def shown(value: object) -> str:
    """A value as a person would write it in YAML, cut to one short line."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 60 else value[:57] + "..."}"'
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"{value}"


def _ancestors(path: Path) -> list[Path]:
    return [path[:n] for n in range(len(path), 0, -1)]


def _describe(model: type[BaseModel], value: object, detail: ErrorDetails) -> list[Problem]:
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, ProblemsFound):
        section = detail["loc"]
        return [Problem((*section, *p.path), p.found, p.expected, p.do) for p in error.problems]
    path = _path_in_schema(model, detail["loc"])
    if detail["type"] == "extra_forbidden":
        return [_unknown_key(model, detail["loc"])]
    if not path:
        return [
            Problem(
                (),
                shown(value),
                f"sections: {', '.join(keys_at(model, ()))}",
                "write for example `model:` and below it `  name: Qwen/Qwen2.5-0.5B`",
            )
        ]
    found = _value_at(value, path)
    return [Problem(path, shown(found), expectation(model, path), _advice(model, path, found))]


def _unknown_key(model: type[BaseModel], path: Path) -> Problem:
    """Also looks in the other sections: a right key in the wrong place is a common slip."""
    key = str(path[-1])
    siblings = keys_at(model, path[:-1])
    close = nearest(key, siblings)
    elsewhere = [
        f"{section}.{key}" for section in keys_at(model, ()) if key in keys_at(model, (section,))
    ]
    if close:
        do = f"did you mean {close}?"
    elif elsewhere:
        do = f"move it: the key is {elsewhere[0]}"
    else:
        do = "remove it"
    place = f"keys of {dotted(path[:-1])}" if len(path) > 1 else "sections"
    return Problem(path, "an unknown key", f"one of the {place} ({', '.join(siblings)})", do)


def _advice(model: type[BaseModel], path: Path, found: object) -> str:
    """What to write instead."""
    schema = schema_at(model, path)
    if isinstance(found, str):
        if schema.get("type") == "boolean" and found.lower() in ("yes", "on", "y"):
            return "write true"
        if schema.get("type") == "boolean" and found.lower() in ("no", "off", "n"):
            return "write false"
        if close := nearest(found, [str(choice) for choice in schema.get("enum", [])]):
            return f"did you mean {close}?"
        if schema.get("type") in ("number", "integer") and _is_number(found):
            return f"write {found.strip()} without quotes and leading zeros"
    if isinstance(found, Mapping) and path and "properties" not in schema:
        return "write one value after the colon"
    if hint := schema.get("hint"):
        return str(hint)
    default = schema.get("default")
    return f"the default is {'null' if default is None else default}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _path_in_schema(model: type[BaseModel], location: Path) -> Path:
    """The keys of a pydantic location, without the names of union members at its end."""
    path: Path = ()
    for part in location:
        if isinstance(part, str) and part not in keys_at(model, path):
            break
        path = (*path, part)
    return path


def _value_at(value: Any, path: Path) -> object:
    for part in path:
        value = value[part]
    return value
