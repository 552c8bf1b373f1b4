"""Wrong settings as sentences: what was found, what was expected, what to do; all at once."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from packages.cloud.src.exit_codes import EX_CONFIG, UserError
from packages.qwen_ft.src.config_schema import expectation, keys_at, schema_at

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


# Names that other trainers use, and short forms.
RENAMED = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "rank": "r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "base_model": "name",
    "model_name": "name",
    "max_length": "max_tokens",
    "max_seq_length": "max_tokens",
    "sequence_len": "max_tokens",
    "val_set_size": "validation_share",
    "dtype": "torch_dtype",
    "path": "source",
    "threshold": "max_perplexity",
    "gpu": "cuda:0",
    "cuda": "cuda:0",
    "int4": "nf4",
}
NUMBER_IN_TEXT = re.compile(r"\s*[-+]?[0-9][0-9_,]*(\.[0-9]*)?([eE][-+]?[0-9]+)?\s*")


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
        return ": ".join(
            [*where, f"found {self.found}; expected {self.expected}; {self.do}"]
        )


NOTHING = Problem(
    (),
    "no settings at all",
    "at least one section: model, data, lora, ...",
    "write for example `model:` and below it `  name: Qwen/Qwen2.5-0.5B`",
)


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
    ordered = sorted(
        problems, key=lambda problem: (problem.line or 0, dotted(problem.path))
    )
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
    """`value` as a `model`; a section that holds nothing stands for its defaults.

    Args:
        lines: where each key stands, if it came from a text.
        problems: what the text itself had wrong; reported together with the rest.

    Raises:
        UserError: `problems`, and all those of the value (exit code 78).
    """
    if value is None:
        refuse(problems or [NOTHING])
    filled = value
    if isinstance(value, Mapping):
        sections = keys_at(model, ())
        filled = {k: {} if v is None and k in sections else v for k, v in value.items()}
    try:
        result = model.model_validate(filled)
    except ValidationError as error:
        known = {problem.path for problem in problems}
        more = problems_of(model, filled, error, lines or {})
        refuse([*problems, *(problem for problem in more if problem.path not in known)])
        raise
    refuse(problems)
    return result


def problems_of(
    model: type[BaseModel],
    value: object,
    error: ValidationError,
    lines: Mapping[Path, int],
) -> list[Problem]:
    """One problem per wrong key."""
    by_path: dict[Path, Problem] = {}
    for detail in error.errors():
        for problem in _describe(model, value, detail):
            # The line of the key, else of what it should have stood under.
            parents = (problem.path[:n] for n in range(len(problem.path), 0, -1))
            line = next((lines[path] for path in parents if path in lines), None)
            by_path.setdefault(problem.path, replace(problem, line=line))
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


def _describe(
    model: type[BaseModel], value: object, detail: ErrorDetails
) -> list[Problem]:
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, ProblemsFound):
        section = detail["loc"]
        return [
            Problem((*section, *p.path), p.found, p.expected, p.do)
            for p in error.problems
        ]
    if detail["type"] == "extra_forbidden":
        return [_unknown_key(model, detail["loc"])]
    path = _path_in_schema(model, detail["loc"])
    if not path:
        return [replace(NOTHING, found=shown(value))]
    found = _value_at(value, path)
    return [
        Problem(
            path, shown(found), expectation(model, path), _advice(model, path, found)
        )
    ]


def _unknown_key(model: type[BaseModel], path: Path) -> Problem:
    """Also looks in the other sections: a right key in the wrong place is a common slip."""
    key, siblings = str(path[-1]), keys_at(model, path[:-1])
    place = f"a key of {dotted(path[:-1])}" if len(path) > 1 else "a section"
    sections = [name for name in keys_at(model, ()) if key in keys_at(model, (name,))]
    renamed = RENAMED.get(key)
    if renamed in siblings:
        do = f"did you mean {renamed}?"
    elif close := nearest(key, siblings):
        do = f"did you mean {close}?"
    elif sections:
        do = f"move it: the key is {sections[0]}.{key}"
    else:
        do = f"remove it, or use one of {', '.join(siblings)}"
    return Problem(path, f"the unknown key {key}", place, do)


def _advice(model: type[BaseModel], path: Path, found: object) -> str:
    """What to write instead."""
    schema = schema_at(model, path)
    kind = schema.get("type")
    if isinstance(found, str):
        if kind == "boolean" and found.lower() in ("yes", "on", "y", "1"):
            return "write true"
        if kind == "boolean" and found.lower() in ("no", "off", "n", "0"):
            return "write false"
        choices = [str(choice) for choice in schema.get("enum", [])]
        renamed = RENAMED.get(found.lower(), "")
        if renamed in choices or (renamed and path[-1] == "device_map"):
            return f"did you mean {renamed}?"
        if close := nearest(found, choices):
            return f"did you mean {close}?"
        if kind in ("number", "integer") and NUMBER_IN_TEXT.fullmatch(found):
            bare = found.strip().replace("_", "").replace(",", "")
            return f"write {re.sub('^0+(?=[0-9])', '', bare)}, without quotes, zeros or separators"
    if kind == "integer" and isinstance(found, float) and found.is_integer():
        return f"write {int(found)}"
    if kind == "string" and isinstance(found, int | float):
        return f'write "{found}", in quotes'
    if hint := schema.get("hint"):
        return str(hint)
    if isinstance(found, Mapping):
        return "write one value behind the colon"
    if "properties" in schema:
        return f"write for example `{path[-1]}:` and the keys below it, two spaces further in"
    default = schema.get("default")
    return f"write for example {json.dumps(default)}".replace('"', "")


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
