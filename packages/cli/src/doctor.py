"""`doctor`: what this machine and its AWS account have, and what to do about the rest."""

import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from packages.cloud.src.aws_checks import AwsSettings, Check, check_aws
from packages.cloud.src.exit_codes import EX_CONFIG

MARKS = {"ok": "✓", "fail": "✗", "skip": "–"}
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "metaflow", "boto3")
SECONDS_TO_ANSWER = 5


def doctor(
    aws: Annotated[
        bool, typer.Option("--aws", help="Also write, read and try to delete for real.")
    ] = False,
    registry: Annotated[
        str, typer.Option(help="The registry that a run would use.")
    ] = "registry",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.")
    ] = False,
) -> None:
    """Check what a run needs here and on AWS; exit code 78 if something is missing."""
    checks = [*machine_checks(), *metaflow_checks(registry, probe=aws)]
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print_table(checks)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(EX_CONFIG)


def machine_checks() -> list[Check]:
    """Python, the libraries, the GPU, and whether models can be downloaded."""
    version = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    fix = "" if right else "Use ./python, which makes .venv with Python 3.11."
    checks = [Check("python", "ok" if right else "fail", version, fix)]
    for name in LIBRARIES:
        try:
            found = importlib.metadata.version(name)
            checks.append(Check(name, "ok", found))
        except importlib.metadata.PackageNotFoundError:
            fix = "Use ./python, which installs the locked libraries."
            checks.append(Check(name, "fail", "not installed", fix))
    return [*checks, _gpu(), _hub()]


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("gpu", "skip", "none: training runs on the CPU")
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    name = torch.cuda.get_device_name()
    return Check("gpu", "ok", f"{name}, {free:.0f} of {total:.0f} GiB free")


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Check(
            "hub", "skip", "HF_HUB_OFFLINE is set: only starter:// and folders"
        )
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("Qwen/Qwen2.5-0.5B", timeout=SECONDS_TO_ANSWER)
    except Exception as error:  # whatever it is, only models of the hub need it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check("hub", "skip", f"no answer, starter:// works without: {reason}")
    return Check("hub", "ok", "answers")


def metaflow_checks(registry: str, probe: bool) -> list[Check]:
    """The profile, and with an S3 datastore everything that Batch needs."""
    from metaflow import metaflow_config as settings

    profile = os.environ.get("METAFLOW_PROFILE") or "default"
    datastore = settings.DEFAULT_DATASTORE
    checks = [
        Check("metaflow profile", "ok", f"{profile}: datastore {datastore}"),
    ]
    if datastore != "s3":
        unused = "not used: the datastore is local (`aws up` makes an account here)"
        return [*checks, Check("aws", "skip", unused)]
    wanted = AwsSettings(
        datastore_uri=settings.DATASTORE_SYSROOT_S3 or "",
        queue=settings.BATCH_JOB_QUEUE or "",
        role_arn=settings.ECS_S3_ACCESS_IAM_ROLE or "",
        image=settings.BATCH_CONTAINER_IMAGE or "",
        registry_uri=registry,
    )
    return [*checks, *check_aws(wanted, _client, probe)]


def _client(service: str) -> Any:
    quick = Config(
        connect_timeout=SECONDS_TO_ANSWER,
        read_timeout=SECONDS_TO_ANSWER,
        retries={"total_max_attempts": 1},
    )
    return boto3.client(service, config=quick)


def _print_table(checks: list[Check]) -> None:
    table = Table("", "check", "found", box=None, show_header=False)
    for check in checks:
        table.add_row(MARKS[check.state], check.name, check.found)
        if check.fix:
            table.add_row("", "", f"→ {check.fix}")
    Console().print(table)
