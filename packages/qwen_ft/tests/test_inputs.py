"""What a run starts from, with what the command line changed."""

import hashlib
from pathlib import Path

import pytest

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src.config import STARTER_CONFIG, read_run_config
from packages.qwen_ft.src.inputs import pin_inputs
from packages.qwen_ft.src.version import VERSION


@pytest.fixture
def settings():
    return read_run_config(STARTER_CONFIG.read_text())


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "my notes.txt"
    path.write_text("A sentence.\n")
    return path


def test_command_line_values_replace_those_of_the_file(settings, notes):
    config, base, source = pin_inputs(
        settings, data=str(notes), overrides="lora.r=4 gate.seed=7"
    )

    assert config.data.source == str(notes)
    assert (config.lora.r, config.gate.seed) == (4, 7)
    assert base.name == "starter://tiny-qwen2" and len(base.revision) == 40
    assert len(source.objects) == 1 and source.objects[0].key.endswith("my notes.txt")


def test_the_pinned_file_has_its_size_and_hash(settings, notes):
    expected = hashlib.sha256(b"A sentence.\n").hexdigest()
    _, _, source = pin_inputs(settings, data=str(notes))

    assert (source.objects[0].size_bytes, source.objects[0].sha256) == (12, expected)


def test_a_target_that_matches_nothing_stops_before_the_data_is_looked_at(settings):
    with pytest.raises(UserError, match="no_such_proj") as caught:
        pin_inputs(
            settings,
            data="/does/not/exist",
            overrides="lora.target_modules=[no_such_proj]",
        )

    assert caught.value.exit_code == 78
    assert "q_proj" in caught.value.message


def test_a_rank_above_the_width_is_refused(settings):
    with pytest.raises(UserError, match="lora.r"):
        pin_inputs(settings, overrides="lora.r=512")


def test_the_changelog_names_this_release():
    changelog = Path(__file__).resolve().parents[3] / "CHANGELOG.md"

    assert f"## {VERSION}" in changelog.read_text()
