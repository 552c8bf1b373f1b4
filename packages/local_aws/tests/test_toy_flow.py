"""Metaflow's own client and `@batch`, against the emulator: each way in which a job can end."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from packages.local_aws.tests.toy_flow import ENDINGS, WAITING

pytestmark = pytest.mark.flow
FLOW = Path(__file__).with_name("toy_flow.py")
READ_BACK = """
import json
from metaflow import Run, namespace
namespace(None)
run = Run("ToyFlow/1")
tasks = {task.data.ending: task for task in run["work"]}
print(json.dumps({
    "successful": run.successful,
    "tags": sorted(run.user_tags),
    "attempts": {ending: task.data.attempt for ending, task in tasks.items()},
    "metadata": {ending: task.metadata_dict for ending, task in tasks.items()},
    "log": tasks["success"].stdout,
}))
"""


@pytest.fixture(scope="module")
def client_environment(laptop):
    ours = {
        k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "METAFLOW_"))
    }
    return {**ours, **laptop.environment()}


def interrupt_the_one_that_waits(laptop, flow):
    """Look once a second, until the flow has ended or the job was found."""
    while flow.poll() is None:
        for job in laptop.jobs():
            if job.status == "RUNNING" and WAITING in set(laptop.log_lines(job.job_id)):
                laptop.kill(job.job_id, as_spot=True)
                flow.wait()
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            flow.wait(timeout=1)


@pytest.fixture(scope="module")
def run(laptop, client_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    with (folder / "output").open("wb") as output:
        flow = subprocess.Popen(
            [sys.executable, str(FLOW), "--no-pylint", "run"],
            cwd=folder,
            env=client_environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        interrupt_the_one_that_waits(laptop, flow)
    text = (folder / "output").read_text()
    assert flow.returncode == 0, text
    return text


@pytest.fixture(scope="module")
def read_back(run, client_environment, tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK],
        cwd=tmp_path_factory.mktemp("client"),
        env=client_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_every_ending_but_success_needs_a_second_attempt(read_back):
    assert read_back["attempts"] == {e: 0 if e == "success" else 1 for e in ENDINGS}
    assert read_back["successful"]


def test_each_failure_is_told_to_the_user(run):
    assert "RuntimeError: the first attempt fails" in run
    assert "Host EC2 (instance i-" in run
    assert run.count("Task is starting (retry)") == 3


def test_only_the_batch_step_went_to_batch(laptop, read_back):
    steps = {job.name.split("-")[3] for job in laptop.jobs() if "ToyFlow" in job.name}

    assert steps == {"work"}


def test_where_a_step_ran_is_in_its_metadata(laptop, read_back):
    known = {job.job_id for job in laptop.jobs()}

    for metadata in read_back["metadata"].values():
        assert metadata["aws-batch-job-id"] in known
        assert metadata["aws-batch-jq-name"] == "laptop-gpu"
        assert metadata["aws-batch-awslogs-group"] == "/aws/batch/job"
        assert "/default/" in metadata["aws-batch-awslogs-stream"]


def test_the_run_is_tagged_from_within(read_back):
    assert read_back["tags"] == ["seen"]


def test_the_log_of_a_remote_step_is_read_from_s3(read_back):
    assert "Task is starting." in read_back["log"]
