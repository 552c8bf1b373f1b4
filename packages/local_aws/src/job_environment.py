"""What a job finds around it: the variables and files of its container."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Laptop:
    """The emulator that jobs run on.

    Args:
        folder: holds `bin/` (the image's programs) and `jobs/`.
        aws_url: where the AWS services answer.
        local_url: where the task metadata and credentials of jobs answer.
        region: AWS region of everything.
        stop_timeout_s: SIGTERM to SIGKILL; 30 is the default of ECS.
        shortest_timeout_s: AWS Batch refuses shorter time-outs of jobs; 60 there.
    """

    folder: Path
    aws_url: str
    local_url: str
    region: str = "us-east-1"
    stop_timeout_s: float = 30.0
    shortest_timeout_s: int = 60


@dataclass(frozen=True)
class Attempt:
    """One run of a job: which one, where, and under which names."""

    job_id: str
    number: int
    task_id: str
    queue_name: str
    environment_name: str
    log_stream: str


def install_image(laptop: Laptop) -> None:
    """Put `python` and `python3` on the jobs' PATH: this interpreter, with its libraries.

    A script and not a link: a link would lose the virtual environment. `packages` is
    not among the libraries; a job imports it from its code package, as on Batch.
    """
    folder = laptop.folder / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    for name in ("python", "python3"):
        program = folder / name
        program.write_text(script)
        program.chmod(0o755)


def job_environment(
    laptop: Laptop, attempt: Attempt, own: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """All variables of one attempt; `own` are those of the job and its definition.

    Order of precedence, as in a container: Batch and ECS, then the job, then the image.
    """
    image = {
        "PATH": os.pathsep.join([str(laptop.folder / "bin"), "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "AWS_ENDPOINT_URL": laptop.aws_url,
        "AWS_DEFAULT_REGION": laptop.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1",
        "METAFLOW_S3_WORKER_COUNT": "4",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    batch = {
        "AWS_BATCH_JOB_ID": attempt.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(attempt.number),
        "AWS_BATCH_JQ_NAME": attempt.queue_name,
        "AWS_BATCH_CE_NAME": attempt.environment_name,
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "ECS_CONTAINER_METADATA_URI_V4": f"{laptop.local_url}/ecs/{attempt.task_id}",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": (
            f"{laptop.local_url}/credentials/{attempt.task_id}"
        ),
    }
    if ":" in attempt.job_id:
        batch["AWS_BATCH_JOB_ARRAY_INDEX"] = attempt.job_id.rsplit(":", 1)[1]
    return {**image, **own, **batch}


def write_rerun_script(
    folder: Path, command: Sequence[str], environment: Mapping[str, str]
) -> None:
    """`rerun.sh`: the same command with the same variables, to debug a failed job."""
    variables = [f"{name}={value}" for name, value in sorted(environment.items())]
    line = shlex.join(["env", "-i", *variables, *command])
    (folder / "rerun.sh").write_text(
        f"#!/bin/sh\ncd {shlex.quote(str(folder))} && exec {line}\n"
    )
