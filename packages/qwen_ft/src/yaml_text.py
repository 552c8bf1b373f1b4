"""YAML text as plain values with the line of every key; reads numbers by YAML 1.2, runs nothing.

PyYAML reads YAML 1.1: `1e-4` is text there, `no` is false and `1:30` is 90. Only its parser is
used here; what a scalar means is decided below, by the core schema of YAML 1.2.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from packages.qwen_ft.src.config_problems import Path, Problem

LONGEST_TEXT = 256 * 1024
MOST_VALUES = 10_000
DEEPEST = 20
LONGEST_NUMBER = 30  # a commit may be 40 digits; that is a name, not a number

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
SPECIAL = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **{
        sign + word: math.inf for sign in ("", "+") for word in (".inf", ".Inf", ".INF")
    },
    **{"-" + word: -math.inf for word in (".inf", ".Inf", ".INF")},
}
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq")}


@dataclass
class ParsedYaml:
    """What a text says.

    value: nested dicts, lists and scalars; `None` where nothing could be read.
    lines: line of each key and list entry, counted from 1, by its path.
    problems: what is wrong with the text itself. Values under a problem are left out.
    """

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values_read: int = 0


def read_yaml(text: str) -> ParsedYaml:
    """Read one YAML document. Never raises: what is wrong is in `problems`."""
    parsed = ParsedYaml()
    if len(text) > LONGEST_TEXT:
        parsed.problems.append(
            Problem(
                (),
                f"a text of {len(text):,} characters",
                f"at most {LONGEST_TEXT:,}",
                "check that this is the configuration and not the data",
            )
        )
        return parsed
    try:
        node = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        parsed.problems.append(_syntax_problem(error))
    except RecursionError:
        parsed.problems.append(_too_deep(()))
    else:
        if node is not None:
            parsed.value = _construct(node, (), parsed)
    return parsed


def read_scalar(text: str) -> Any:
    """The value of one plain scalar: `1e-4` is a number, `no` is text, `~` is None."""
    if text in SPECIAL:
        return SPECIAL[text]
    if len(text) <= LONGEST_NUMBER:
        if INTEGER.fullmatch(text):
            return int(text, 0)
        if DECIMAL.fullmatch(text) and not LEADING_ZERO.fullmatch(text):
            return float(text)
    return text


def _construct(node: yaml.Node, path: Path, parsed: ParsedYaml) -> Any:
    """The value of `node`. Aliases are written out, so the count limits what they can blow up."""
    parsed.lines.setdefault(path, node.start_mark.line + 1)
    parsed.values_read += 1
    if parsed.values_read > MOST_VALUES:
        if parsed.values_read == MOST_VALUES + 1:
            parsed.problems.append(
                Problem(
                    (),
                    f"more than {MOST_VALUES:,} values, aliases (`*name`) written out",
                    f"at most {MOST_VALUES:,}",
                    "remove the anchors and aliases",
                )
            )
        return None
    if len(path) > DEEPEST:
        parsed.problems.append(_too_deep(path))
        return None
    if node.tag not in PLAIN_TAGS:
        shown = node.tag.replace("tag:yaml.org,2002:", "!!")
        parsed.problems.append(
            Problem(
                path,
                f"the tag `{shown}`",
                "plain values; nothing in a configuration is ever executed",
                "remove the tag and write the value itself",
                parsed.lines[path],
            )
        )
        return None
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, parsed)
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(child, (*path, i), parsed) for i, child in enumerate(node.value)
        ]
    assert isinstance(node, yaml.ScalarNode)
    return read_scalar(node.value) if node.style is None else node.value


def _construct_mapping(
    node: yaml.MappingNode, path: Path, parsed: ParsedYaml
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            parsed.problems.append(
                Problem(
                    path,
                    "a list or mapping as a key",
                    "a word",
                    "write one key a line",
                    line,
                )
            )
            continue
        key = key_node.value
        here = (*path, key)
        if key in mapping:
            parsed.problems.append(
                Problem(
                    here,
                    f"the key a second time (first on line {parsed.lines[here]})",
                    "each key once",
                    "keep one of the two",
                    line,
                )
            )
            continue
        parsed.lines[here] = line
        mapping[key] = _construct(value_node, here, parsed)
    return mapping


def _too_deep(path: Path) -> Problem:
    return Problem(
        path[:2],
        "brackets or lists nested too deep",
        f"at most {DEEPEST} levels",
        "flatten them",
    )


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    """What PyYAML stumbled over, in our words where it is a common slip."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else None
    found = getattr(error, "problem", None) or str(error).splitlines()[0]
    column = f" at column {mark.column + 1}" if mark is not None else ""
    if "'\\t'" in found:
        return Problem(
            (), f"a tab{column}", "spaces", "indent with two spaces a level", line
        )
    if found == "but found another document":
        return Problem(
            (), "a second document (`---`)", "one", "split the file in two", line
        )
    if "undefined alias" in found:
        return Problem(
            (),
            f"an {found.removeprefix('found ')}",
            "a value",
            "put text that starts with `*` in quotes",
            line,
        )
    if "unacceptable character" in found or "special characters" in found:
        return Problem(
            (), f"a control character: {found}", "text", "save the file as UTF-8", line
        )
    return Problem(
        (),
        f"{found}{column}",
        "YAML: `key: value`, two spaces of indent a level",
        "check this line and the one above for a missing colon, quote or bracket",
        line,
    )
