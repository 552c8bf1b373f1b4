import json

import pytest
import typer
from metaflow import metaflow_config
from typer.testing import CliRunner

from packages.cli.src import doctor as module
from packages.cloud.src.aws_checks import Check
from packages.cloud.src.exit_codes import EX_CONFIG


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    app = typer.Typer()
    app.command()(module.doctor)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_this_machine_without_aws_has_all_that_the_starter_run_needs(call, monkeypatch):
    monkeypatch.setattr(metaflow_config, "DEFAULT_DATASTORE", "local")

    done = call("--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}

    assert done.exit_code == 0
    assert checks["python"]["found"].startswith("3.11.")
    assert checks["bitsandbytes"]["state"] == "ok"
    assert checks["hub"]["state"] == checks["aws"]["state"] == "skip"


def test_with_an_s3_datastore_the_addresses_of_the_profile_are_checked(
    call, monkeypatch
):
    asked = []

    def check_aws(settings, client, probe):
        asked.append((settings, probe))
        return [Check("queue", "fail", "gpu is DISABLED", "Enable it.")]

    monkeypatch.setattr(metaflow_config, "DEFAULT_DATASTORE", "s3")
    monkeypatch.setattr(metaflow_config, "DATASTORE_SYSROOT_S3", "s3://bucket/metaflow")
    monkeypatch.setattr(metaflow_config, "BATCH_JOB_QUEUE", "gpu")
    monkeypatch.setattr(module, "check_aws", check_aws)

    done = call("--aws", "--registry", "s3://models")

    assert done.exit_code == EX_CONFIG
    settings, probe = asked[0]
    assert probe
    assert settings.datastore_uri == "s3://bucket/metaflow"
    assert (settings.queue, settings.registry_uri) == ("gpu", "s3://models")
    assert "✗" in done.stdout
    assert "→ Enable it." in done.stdout
