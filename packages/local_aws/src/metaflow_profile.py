"""The Metaflow profile `laptop-aws`, and the lines that make a shell use the emulator."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from packages.local_aws.src.account import (
    DATASTORE_BUCKET,
    IMAGE,
    JOB_ROLE,
    QUEUE,
    REGION,
    Keys,
    role_arn,
)

PROFILE = "laptop-aws"
NAMES_OF_USER = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")


def metaflow_home() -> Path:
    """Where Metaflow looks for profiles."""
    return Path(
        os.environ.get("METAFLOW_HOME") or Path.home() / ".metaflowconfig"
    ).absolute()


def profile_settings(aws_url: str, local_url: str) -> dict[str, str]:
    """The profile. The output `metaflow_config` of our Terraform has the same keys."""
    root = f"s3://{DATASTORE_BUCKET}/metaflow"
    return {
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_S3": root,
        "METAFLOW_DATATOOLS_S3ROOT": f"{root}/data",
        "METAFLOW_S3_ENDPOINT_URL": aws_url,
        "METAFLOW_DEFAULT_METADATA": "service",
        "METAFLOW_SERVICE_URL": local_url,
        "METAFLOW_SERVICE_INTERNAL_URL": local_url,
        "METAFLOW_BATCH_JOB_QUEUE": QUEUE,
        "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": role_arn(JOB_ROLE),
        "METAFLOW_BATCH_CONTAINER_IMAGE": IMAGE,
        "METAFLOW_S3_WORKER_COUNT": "4",  # not 64: a laptop forks a process for each
    }


def write_profile(home: Path, aws_url: str, local_url: str) -> Path:
    """Write `config_laptop-aws.json` below `home`; returns its path."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / f"config_{PROFILE}.json"
    settings = profile_settings(aws_url, local_url)
    file.write_text(json.dumps(settings, indent=2) + "\n")
    return file


def client_environment(home: Path, aws_url: str, keys: Keys) -> dict[str, str]:
    """The variables that a client of the emulator needs.

    METAFLOW_HOME is among them only where it is not Metaflow's default, METAFLOW_USER
    only where the shell has no user name.
    """
    variables = {"METAFLOW_PROFILE": PROFILE}
    if home != Path.home() / ".metaflowconfig":
        variables["METAFLOW_HOME"] = str(home)
    if not any(os.environ.get(name) for name in NAMES_OF_USER):
        variables["METAFLOW_USER"] = "laptop"
    return {
        **variables,
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def export_lines(variables: Mapping[str, str]) -> list[str]:
    """Three lines for a shell: the profile, where AWS is, and its keys."""
    groups = (
        [name for name in variables if name.startswith("METAFLOW_")],
        ["AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"],
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
    )
    return [
        "export " + " ".join(f"{name}={shlex.quote(variables[name])}" for name in group)
        for group in groups
    ]
