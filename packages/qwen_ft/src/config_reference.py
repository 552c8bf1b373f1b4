"""docs/reference/configuration.md: every key of a run's settings, written from the settings."""

import json
from typing import Any

from packages.qwen_ft.src.config import RunConfig, preset_names, read_run_config
from packages.qwen_ft.src.config_schema import in_words, keys_at, schema_at

HEAD = """\
# Configuration

One YAML file decides what a run produces: `... run` reads `packages/qwen_ft/configs/starter.yaml`,
`... --config run_config FILE run` another one. A key that is left out has the default below; a key
that does not exist is refused with the nearest one. `... run --set 'lora.r=8 training.seed=1'`
changes keys without editing a file. The first line of each preset names `configuration.schema.json`,
with which an editor checks the file while you type.

Made from the code by `./python -m packages.cli docs write`.
"""


def config_reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD, _presets()]
    for section in keys_at(RunConfig, ()):
        schema = schema_at(RunConfig, (section,))
        if "properties" not in schema:
            parts.append(f"## {section}\n\n{_table([(section, schema)])}")
            continue
        rows = [
            (f"{section}.{key}", schema_at(RunConfig, (section, key)))
            for key in schema["properties"]
        ]
        parts.append(
            f"## {section}\n\n{schema.get('description', '')}\n\n{_table(rows)}"
        )
    return "\n".join(parts)


def config_json_schema() -> dict[str, Any]:
    """JSON schema of the file, for editors that check YAML while it is typed."""
    schema = RunConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def config_schema_page() -> str:
    """The schema as the text of docs/reference/configuration.schema.json."""
    return json.dumps(config_json_schema(), indent=1, sort_keys=True) + "\n"


def _table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    lines = ["| key | accepts | default | meaning |", "|---|---|---|---|"]
    for name, schema in rows:
        default = json.dumps(schema.get("default"))
        meaning = schema.get("description", "")
        cells = (f"`{name}`", in_words(schema), f"`{default}`", meaning)
        lines.append(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _presets() -> str:
    """What the presets change, as one table."""
    defaults = _flat(RunConfig().model_dump(mode="json"))
    lines = [
        "## Presets\n",
        "| preset | what it sets other than the defaults |",
        "|---|---|",
    ]
    for name in preset_names():
        changed = {
            key: value
            for key, value in _flat(read_run_config(name)).items()
            if value != defaults[key]
        }
        shown = ", ".join(
            f"`{key}: {json.dumps(value)}`" for key, value in changed.items()
        )
        lines.append(f"| `{name}` | {shown} |")
    return "\n".join(lines) + "\n"


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, inner in settings.items():
        if isinstance(inner, dict):
            flat |= {f"{section}.{key}": value for key, value in inner.items()}
        else:
            flat[section] = inner
    return flat
