"""A flow's last words and exit code."""

import json

import pytest

from packages.qwen_ft.src import flow_outcome
from packages.qwen_ft.src.flow_outcome import OUTCOME_VARIABLE, tell_at_the_end


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    place = tmp_path / "outcome.json"
    monkeypatch.setenv(OUTCOME_VARIABLE, str(place))
    return place


def test_last_words_reach_the_parent(outcome):
    tell_at_the_end("accepted", 0)

    assert json.loads(outcome.read_text()) == {"message": "accepted", "exit_code": 0}


def test_the_first_error_is_the_one_that_is_told(outcome):
    tell_at_the_end("the cause", 65)
    tell_at_the_end("what followed", 1)

    assert json.loads(outcome.read_text())["message"] == "the cause"


def test_a_step_without_a_parent_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(OUTCOME_VARIABLE, str(tmp_path / "gone" / "outcome.json"))

    tell_at_the_end("no such file", 66)

    assert capsys.readouterr().err == "no such file\n"


def test_a_full_disk_is_told_as_such(outcome, monkeypatch):
    from metaflow import cli

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "tokens.bin")

    monkeypatch.setattr(cli, "main", full)

    assert flow_outcome._run(_flow()) == 73
    assert "Cannot write tokens.bin: No space left" in outcome.read_text()


def test_a_configuration_that_is_not_text_is_told_as_such(outcome, monkeypatch):
    from metaflow import cli

    def undecodable(*args, **kwargs):
        b"\xe9".decode("utf-8")

    monkeypatch.setattr(cli, "main", undecodable)

    assert flow_outcome._run(_flow()) == 78
    assert "not UTF-8" in outcome.read_text()


def _flow():
    from packages.qwen_ft.src.flows.training_flow import TrainingFlow

    return TrainingFlow
