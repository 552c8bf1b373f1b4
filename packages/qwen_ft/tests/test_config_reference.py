"""The committed page about the settings says what the code does."""

import json
from pathlib import Path

import pytest

from packages.qwen_ft.src.config import (
    CONFIGS,
    RunConfig,
    preset_names,
)
from packages.qwen_ft.src.config_reference import (
    config_json_schema,
    config_reference,
)
from packages.qwen_ft.src.config_schema import keys_at

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"
SCHEMA = REFERENCE / "configuration.schema.json"


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_names_the_schema_for_editors(name: str) -> None:
    first = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    address = first.removeprefix("# yaml-language-server: $schema=")
    assert (CONFIGS / address).resolve() == SCHEMA


def test_every_key_has_a_row_with_its_default_and_a_meaning() -> None:
    rows = {
        line.split("`")[1]: line
        for line in config_reference().splitlines()
        if "| `" in line
    }
    for section, inner in RunConfig().model_dump(mode="json").items():
        for key in keys_at(RunConfig, (section,)):
            row = rows[f"{section}.{key}"]
            assert f"| `{json.dumps(inner[key])}` |" in row
            assert not row.endswith("|  |")


def test_the_schema_for_editors_knows_the_ranges_and_refuses_unknown_keys() -> None:
    schema = config_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["LoraSettings"]["properties"]["r"]["maximum"] == 1024
    for name, part in schema["$defs"].items():
        assert part.get("additionalProperties") is False or not name.endswith(
            "Settings"
        )
