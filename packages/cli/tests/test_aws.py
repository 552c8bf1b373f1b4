import json

import pytest
from typer.testing import CliRunner

from packages.cli.src.aws import app
from packages.cloud.src.exit_codes import EX_UNAVAILABLE, UserError

pytestmark = pytest.mark.flow


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("METAFLOW_HOME", str(tmp_path / "metaflow"))
    folder = ["--folder", str(tmp_path / "emulator")]

    def run(command, *arguments):
        done = CliRunner().invoke(app, [command, *arguments, *folder])
        if isinstance(done.exception, UserError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    yield run
    run("down")


def test_up_prints_only_the_lines_to_use_and_down_takes_all_away(call, tmp_path):
    lines = call("up", "--port", "0").splitlines()
    profile = tmp_path / "metaflow" / "config_laptop-aws.json"

    assert [line.split()[0] for line in lines] == ["export"] * 3
    assert "METAFLOW_PROFILE=laptop-aws" in lines[0]
    assert json.loads(profile.read_text())["METAFLOW_DEFAULT_DATASTORE"] == "s3"
    assert all(line in call("status") for line in lines)
    assert json.loads(call("status", "--json"))["jobs"] == []
    with pytest.raises(UserError, match="already runs"):
        call("up", "--port", "0")
    with pytest.raises(UserError, match="no job is called.*The jobs are: none"):
        call("logs", "train")

    assert call("down") == "stopped\n"
    assert not profile.exists()


@pytest.mark.parametrize("command", ["status", "logs", "kill"])
def test_without_an_emulator_the_next_step_is_named(call, command):
    with pytest.raises(UserError, match="aws up") as caught:
        call(command, *([] if command == "status" else ["some-job"]))
    assert caught.value.exit_code == EX_UNAVAILABLE
