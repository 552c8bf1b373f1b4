"""Settings changed without editing a file: `lora.r=8` on the command line, or a trial."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from packages.qwen_ft.src.config_problems import Problem, refuse
from packages.qwen_ft.src.yaml_text import read_yaml


def split_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`["lora.r=8"]` as `{"lora.r": 8}`; values are read as YAML, the last of equal keys wins.

    Raises:
        UserError: an entry that is not `section.key=value` (exit code 78).
    """
    changes: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in overrides:
        key, equals, written = text.partition("=")
        parsed = read_yaml(written)
        if not equals or "." not in key.strip(" ."):
            problems.append(
                Problem(
                    (),
                    f'the override "{text}"',
                    "section.key=value",
                    "write for example training.learning_rate=1e-3",
                )
            )
        problems += [
            Problem((key,), p.found, p.expected, p.do) for p in parsed.problems
        ]
        changes[key.strip()] = parsed.value
    refuse(problems)
    return changes


def merge_overrides(
    settings: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of `settings` with each dotted key of `changes` set. Unknown keys are kept: the
    check that follows names them."""
    merged: dict[str, Any] = copy.deepcopy(plain(settings))
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = merged
        for section in sections:
            inner = place.get(section)
            place[section] = inner if isinstance(inner, dict) else {}
            place = place[section]
        place[last] = value
    return merged


def plain(value: Any) -> Any:
    """Mappings of any class (Metaflow wraps a configuration in its own) as dicts, sequences as
    lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
