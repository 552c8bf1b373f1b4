import subprocess
import sys

import pytest

from packages.local_aws.src.job_environment import (
    Attempt,
    Laptop,
    install_image,
    job_environment,
    write_rerun_script,
)


@pytest.fixture
def laptop(tmp_path):
    return Laptop(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2")


def attempt(job_id="job-1"):
    return Attempt(job_id, 2, "task-1", "queue-1", "ce-1", "definition/default/task-1")


def test_a_job_sees_what_batch_documents(laptop, tmp_path):
    seen = job_environment(laptop, attempt(), {}, tmp_path)

    assert seen["AWS_BATCH_JOB_ID"] == "job-1"
    assert seen["AWS_BATCH_JOB_ATTEMPT"] == "2"
    assert seen["AWS_BATCH_JQ_NAME"] == "queue-1"
    assert seen["AWS_BATCH_CE_NAME"] == "ce-1"
    assert seen["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
    assert "AWS_ACCESS_KEY_ID" not in seen, "the keys come from the role"


def test_a_job_cannot_change_what_batch_sets(laptop, tmp_path):
    own = {"AWS_BATCH_JOB_ATTEMPT": "9", "LANG": "de_DE.UTF-8"}

    seen = job_environment(laptop, attempt(), own, tmp_path)

    assert seen["AWS_BATCH_JOB_ATTEMPT"] == "2"
    assert seen["LANG"] == "de_DE.UTF-8", "but it can change what the image sets"


def test_the_children_of_an_array_know_their_place(laptop, tmp_path):
    seen = job_environment(laptop, attempt("job-1:7"), {}, tmp_path)

    assert seen["AWS_BATCH_JOB_ARRAY_INDEX"] == "7"


@pytest.mark.flow
def test_python_on_the_path_is_this_interpreter_without_this_repository(
    laptop, tmp_path
):
    install_image(laptop)
    variables = job_environment(laptop, attempt(), {}, tmp_path)
    code = "import sys, boto3; print(sys.prefix); import packages"

    done = subprocess.run(
        [str(tmp_path / "bin" / "python"), "-c", code],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == sys.prefix
    assert "No module named 'packages'" in done.stderr


@pytest.mark.flow
def test_a_failed_job_can_be_run_again_by_hand(tmp_path):
    command = ["/bin/sh", "-c", 'echo "$NAME in $PWD"']
    write_rerun_script(tmp_path, command, {"NAME": "two words"})

    done = subprocess.run(
        ["sh", str(tmp_path / "rerun.sh")], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"two words in {tmp_path}\n"
