import json
import shlex
import subprocess
from pathlib import Path

import pytest

from packages.local_aws.src.account import Keys
from packages.local_aws.src.metaflow_profile import (
    client_environment,
    export_lines,
    metaflow_home,
    write_profile,
)

AWS, LOCAL = "http://127.0.0.1:1", "http://127.0.0.1:2"
KEYS = Keys("key", "sec ret")


def test_the_profile_sends_artifacts_to_s3_and_metadata_to_the_service(tmp_path):
    file = write_profile(tmp_path / "home", AWS, LOCAL)
    settings = json.loads(file.read_text())

    assert file.name == "config_laptop-aws.json"
    assert settings["METAFLOW_DEFAULT_DATASTORE"] == "s3"
    assert settings["METAFLOW_S3_ENDPOINT_URL"] == AWS
    assert settings["METAFLOW_SERVICE_URL"] == LOCAL
    assert all(isinstance(value, str) for value in settings.values())


def test_metaflows_own_folder_needs_no_line(monkeypatch):
    monkeypatch.setenv("USER", "someone")
    monkeypatch.delenv("METAFLOW_HOME", raising=False)

    usual = client_environment(metaflow_home(), AWS, KEYS)
    other = client_environment(Path("/else/where"), AWS, KEYS)

    assert "METAFLOW_HOME" not in usual
    assert other["METAFLOW_HOME"] == "/else/where"


def test_a_shell_without_a_user_name_gets_one(monkeypatch):
    for name in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    assert client_environment(Path("/h"), AWS, KEYS)["METAFLOW_USER"] == "laptop"

    monkeypatch.setenv("USER", "someone")
    assert "METAFLOW_USER" not in client_environment(Path("/h"), AWS, KEYS)


@pytest.mark.flow
def test_a_shell_that_reads_the_three_lines_has_the_variables(tmp_path):
    variables = client_environment(tmp_path / "a b", AWS, KEYS)
    lines = export_lines(variables)
    names = " ".join(f'"${name}"' for name in variables)

    script = "\n".join([*lines, f"printf '%s\\n' {names}"])
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True
    )

    assert len(lines) == 3
    assert done.stdout.splitlines() == list(variables.values())
    assert shlex.split(lines[2])[2] == "AWS_SECRET_ACCESS_KEY=sec ret"
