"""What a run's settings accept, and what they say about each wrong one."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packages.chat_data.src.row_formats import FORMATS
from packages.cloud.src.exit_codes import EX_CONFIG, UserError
from packages.qwen_ft.src.config import (
    CONFIGS,
    STARTER_CONFIG,
    RunConfig,
    preset_names,
    read_run_config,
    resolve,
)
from packages.qwen_ft.src.config_schema import keys_at, schema_at
from packages.qwen_ft.src.yaml_text import read_yaml

COMMIT = "060db6499f32faf8b98477b0a26969ef7d8b9987"


def test_a_number_may_have_an_exponent_without_a_dot() -> None:
    # PyYAML's own loader reads 1e-4 as text (YAML 1.1).
    assert (
        read_run_config("training: {learning_rate: 1e-4}")["training"]["learning_rate"]
        == 1e-4
    )


def test_words_that_yaml_1_1_takes_for_booleans_stay_text() -> None:
    config = read_run_config("model: {name: no}\ndata: {system_message: on}")
    assert config["model"]["name"] == "no"
    assert config["data"]["system_message"] == "on"


def test_a_commit_of_digits_alone_is_text() -> None:
    for revision in ("1" * 40, "1" * 38 + "e5", COMMIT):
        settings = read_run_config(f"model: {{revision: {revision}}}")
        assert settings["model"]["revision"] == revision


def test_a_section_without_keys_has_its_defaults() -> None:
    assert read_run_config("lora:\ndata:\n  # nothing yet\n")["lora"]["r"] == 16


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert read_run_config("\ufefflora:\r\n  r: 8\r\n")["lora"]["r"] == 8


def test_the_result_is_plain_data_that_gives_the_same_config_again() -> None:
    settings = read_run_config(
        "lora: {target_modules: [q_proj]}\ntrials: [{}, {lora.r: 8}]"
    )
    config = RunConfig.model_validate(settings)
    assert config.lora.target_modules == ("q_proj",)
    assert config.trials == ({}, {"lora.r": 8})
    assert config.model_dump(mode="json") == settings


def test_a_trial_changes_its_keys_and_nothing_else() -> None:
    config = resolve({"trials": [{}, {"lora.r": 8, "training.learning_rate": 1e-3}]})
    changed = config.with_trial(config.trials[1])
    assert (changed.lora.r, changed.training.learning_rate) == (8, 1e-3)
    assert changed.lora.lora_alpha == config.lora.lora_alpha
    assert changed.trials == ({},)


def test_the_digest_follows_the_settings_and_not_the_way_they_are_written() -> None:
    short = resolve(read_run_config("lora: {r: 8}"))
    spelled = resolve(
        read_run_config("# a comment\ntraining: {seed: 0}\nlora:\n  r: 0x8\n")
    )
    assert short.digest() == spelled.digest()
    assert short.digest() != resolve({}).digest()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_read_by_its_name_and_by_its_text(name: str) -> None:
    assert read_run_config(name) == read_run_config(
        (CONFIGS / f"{name}.yaml").read_text()
    )


def test_the_presets_are_the_four_of_the_documentation() -> None:
    assert preset_names() == [
        "qwen2_5_0_5b",
        "qwen2_5_72b_instruct",
        "qwen2_5_7b_instruct",
        "starter",
    ]


def test_the_starter_preset_lists_every_key_and_explains_it() -> None:
    text = STARTER_CONFIG.read_text()
    written = read_yaml(text).lines
    for section in keys_at(RunConfig, ()):
        for key in keys_at(RunConfig, (section,)):
            assert (section, key) in written, f"{section}.{key} is missing"
    keys = [line for line in text.splitlines() if line.startswith("  ")]
    explained = [line for line in keys if "#" in line]
    assert len(explained) > len(keys) / 2


def test_the_row_formats_are_those_that_can_be_read() -> None:
    known = schema_at(RunConfig, ("data", "format"))["enum"]
    assert known == ["auto", *(found.name for found in FORMATS)]


def test_importing_the_settings_leaves_the_heavy_libraries_alone() -> None:
    code = (
        "import packages.qwen_ft.src.config, packages.qwen_ft.src.config_checks, sys;"
        "print({'torch', 'transformers', 'datasets', 'peft', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout.strip() == "set()", result.stderr


@given(st.text(max_size=200))
def test_any_text_gives_settings_or_a_refusal(text: str) -> None:
    try:
        settings = read_run_config(text)
    except UserError as refused:
        assert refused.exit_code == EX_CONFIG
    else:
        RunConfig.model_validate(settings)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_learning_rate_outside_its_range_is_refused(rate: float) -> None:
    inside = math.isfinite(rate) and 0 < rate <= 0.1
    try:
        resolve({"training": {"learning_rate": rate}})
    except UserError:
        assert not inside
    else:
        assert inside


def test_equal_settings_are_equal_bytes_in_every_process() -> None:
    code = (
        "import pickle, sys; from packages.qwen_ft.src.config import resolve; "
        "config = resolve({}, ['lora.r=8', 'training.seed=3']); "
        "assert pickle.loads(pickle.dumps(config)) == config; "
        "sys.stdout.write(pickle.dumps(config).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": ":".join(filter(None, sys.path)),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1
