"""Jobs on the emulated Batch, submitted with boto3 as to the real one."""

import functools

import pytest
from botocore.exceptions import ClientError

from packages.local_aws.src.account import (
    DATASTORE_BUCKET,
    IMAGE,
    JOB_ROLE,
    QUEUE,
    role_arn,
)
from packages.local_aws.src.emulator import EmulatorProblem

pytestmark = pytest.mark.flow
EXITED = "Essential container in task exited"
WAIT_FOREVER = "while :; do sleep 0.02; done"


@pytest.fixture(scope="session")
def batch(laptop):
    return laptop.client("batch")


@pytest.fixture(scope="session")
def submit(batch):
    """Submit a bash script; the keywords are those of submit_job and of the container."""

    @functools.cache
    def definition(image, role):
        return batch.register_job_definition(
            jobDefinitionName="script",
            type="container",
            containerProperties={
                "image": image,
                "jobRoleArn": role,
                "command": ["true"],
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "4096"},
                ],
                "environment": [{"name": "COLOUR", "value": "blue"}],
            },
        )["jobDefinitionArn"]

    def send(script, *, image=IMAGE, role=JOB_ROLE, needs=None, **settings):
        needs = {"VCPU": "0.5", "MEMORY": "1000", **(needs or {})}
        return batch.submit_job(
            jobName="script",
            jobQueue=settings.pop("queue", QUEUE),
            jobDefinition=definition(image, role_arn(role)),
            containerOverrides={
                "command": ["bash", "-c", script],
                "resourceRequirements": [
                    {"type": kind, "value": value} for kind, value in needs.items()
                ],
            },
            **settings,
        )["jobId"]

    return send


@pytest.fixture(scope="session")
def describe(batch):
    return lambda job: batch.describe_jobs(jobs=[job])["jobs"][0]


@pytest.fixture(scope="session")
def until(describe):
    """Ask again until a job is as wanted. The suite's time limit bounds it."""

    def ask(job, wanted):
        while not wanted(described := describe(job)):
            pass
        return described

    return ask


@pytest.fixture(scope="session")
def finish(until):
    return lambda job: until(job, lambda j: j["status"] in ("SUCCEEDED", "FAILED"))


@pytest.fixture
def until_it_says(until, laptop):
    def wait(job, word):
        until(job, lambda j: j["attempts"] and word in set(laptop.log_lines(job)))

    return wait


def test_a_job_that_succeeds_is_described_as_aws_does(submit, finish):
    job = finish(submit("echo hello"))

    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == EXITED
    assert job["container"]["exitCode"] == 0
    assert job["container"]["image"] == IMAGE
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert len(job["attempts"]) == 1
    assert job["attempts"][0]["statusReason"] == EXITED


def test_output_and_errors_are_in_cloudwatch(laptop, submit, finish):
    job = finish(submit("echo to out; echo to err >&2; echo $COLOUR"))

    assert list(laptop.log_lines(job["jobId"])) == ["to out", "to err", "blue"]


@pytest.mark.parametrize("code", [1, 75, 137])
def test_a_failed_job_keeps_its_exit_code(submit, finish, code):
    job = finish(submit(f"exit {code}"))

    assert job["status"] == "FAILED"
    assert job["statusReason"] == EXITED
    assert job["container"]["exitCode"] == code
    assert "reason" not in job["container"], "137 alone does not say out of memory"


def test_a_job_that_outgrows_its_memory_is_killed(submit, finish):
    program = "x = bytearray(200 * 2**20); import time; time.sleep(600)"

    job = finish(submit(f'exec python -c "{program}"', needs={"MEMORY": "100"}))

    assert job["container"]["exitCode"] == 137
    assert job["container"]["reason"].startswith("OutOfMemoryError")


def test_a_retry_strategy_gives_each_attempt_its_number(laptop, submit, finish):
    script = "echo attempt $AWS_BATCH_JOB_ATTEMPT; [ $AWS_BATCH_JOB_ATTEMPT = 2 ]"

    job = finish(submit(script, retryStrategy={"attempts": 3}))

    assert job["status"] == "SUCCEEDED"
    assert [a["container"]["exitCode"] for a in job["attempts"]] == [1, 0]
    assert list(laptop.log_lines(job["jobId"])) == ["attempt 1", "attempt 2"]


def test_a_terminated_job_fails_with_the_given_reason(
    batch, submit, finish, until_it_says
):
    job = submit(f"echo up; {WAIT_FOREVER}", retryStrategy={"attempts": 3})
    until_it_says(job, "up")

    batch.terminate_job(jobId=job, reason="not needed any more")
    ended = finish(job)

    assert ended["status"] == "FAILED"
    assert ended["statusReason"] == "not needed any more"
    assert ended["container"]["exitCode"] == 137, "bash hears no SIGTERM"
    assert len(ended["attempts"]) == 1, "a terminated job is not tried again"


def test_a_job_may_clean_up_when_it_is_terminated(batch, submit, finish, until_it_says):
    job = submit(f"trap 'exit 0' TERM; echo up; {WAIT_FOREVER}")
    until_it_says(job, "up")

    batch.terminate_job(jobId=job, reason="not needed any more")
    ended = finish(job)

    assert ended["status"] == "FAILED", "even though it ends with 0"
    assert ended["container"]["exitCode"] == 0


def test_to_terminate_a_job_that_has_ended_changes_nothing(batch, submit, finish):
    job = finish(submit("true"))

    batch.terminate_job(jobId=job["jobId"], reason="too late")

    assert finish(job["jobId"])["statusReason"] == EXITED


def test_a_spot_interruption_takes_the_host_away(laptop, submit, finish, until_it_says):
    job = submit(f"trap 'echo heard' TERM; echo up; {WAIT_FOREVER}")
    until_it_says(job, "up")

    reason = laptop.kill(job, as_spot=True)
    ended = finish(job)

    assert ended["statusReason"] == reason
    assert reason.startswith("Host EC2 (instance i-")
    assert reason.endswith(") terminated.")
    assert "exitCode" not in ended["container"]
    assert list(laptop.log_lines(job)) == ["up"]


def test_a_lost_host_is_a_reason_to_try_again(laptop, submit, finish, until_it_says):
    script = f"echo up; [ $AWS_BATCH_JOB_ATTEMPT = 2 ] || {WAIT_FOREVER}"
    rules = [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]
    job = submit(script, retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    until_it_says(job, "up")

    laptop.kill(job, as_spot=True)

    assert finish(job)["status"] == "SUCCEEDED"


def test_a_job_without_a_host_cannot_lose_it(laptop, submit, finish):
    job = finish(submit("true"))["jobId"]

    with pytest.raises(EmulatorProblem, match="SUCCEEDED.*no host to lose"):
        laptop.kill(job, as_spot=True)


def test_a_job_that_takes_too_long_is_stopped_and_not_tried_again(submit, finish):
    job = finish(
        submit(
            WAIT_FOREVER,
            timeout={"attemptDurationSeconds": 1},
            retryStrategy={"attempts": 2},
        )
    )

    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert len(job["attempts"]) == 1


def test_a_time_out_below_the_shortest_is_refused(submit):
    with pytest.raises(ClientError, match="must be at least 1"):
        submit("true", timeout={"attemptDurationSeconds": 0})


def test_a_dependent_job_waits_for_the_other(
    submit, finish, until, until_it_says, batch
):
    first = submit(f"trap 'exit 0' USR1; echo $$; {WAIT_FOREVER}")
    second = submit("true", dependsOn=[{"jobId": first}])
    until(second, lambda job: job["status"] == "PENDING")

    batch.terminate_job(jobId=first, reason="enough")
    ended = finish(second)

    assert ended["status"] == "FAILED"
    assert ended["statusReason"] == "Dependent Job failed"
    assert ended["attempts"] == []
    assert "startedAt" not in ended


def test_a_dependent_job_runs_once_the_other_has_succeeded(submit, finish):
    first = submit("true")
    second = finish(submit("true", dependsOn=[{"jobId": first}]))

    assert second["status"] == "SUCCEEDED"
    assert second["startedAt"] >= finish(first)["stoppedAt"]


def test_a_job_too_large_for_the_queue_says_so_and_waits(batch, submit, until, finish):
    job = submit("true", needs={"VCPU": "10000"})

    waiting = until(job, lambda j: j.get("statusReason"))

    assert waiting["status"] == "RUNNABLE"
    assert (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE" in waiting["statusReason"]
    )
    batch.cancel_job(jobId=job, reason="too large")
    assert finish(job)["statusReason"] == "too large"


def test_a_queue_that_does_not_exist_is_refused(submit):
    with pytest.raises(ClientError, match="no-such-queue does not exist"):
        submit("true", queue="no-such-queue")


def test_an_image_that_was_never_pushed_stops_the_job(submit, finish):
    job = finish(submit("true", image=IMAGE + "-never-pushed"))

    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotPullContainerError")
    assert "exitCode" not in job["container"]


def test_a_role_that_does_not_exist_stops_the_job(submit, finish):
    job = finish(submit("true", role="no-such-role"))

    assert job["statusReason"] == "Task failed to start"
    assert "no-such-role" in job["container"]["reason"]


def test_a_job_has_the_keys_of_its_role(laptop, submit, finish):
    program = (
        "import boto3; print(boto3.client('sts').get_caller_identity()['Arn']); "
        f"boto3.client('s3').put_object(Bucket='{DATASTORE_BUCKET}', Key='k', Body=b'v')"
    )

    job = finish(submit(f'python -c "{program}"'))

    assert job["status"] == "SUCCEEDED"
    assert f"assumed-role/{JOB_ROLE}/" in next(laptop.log_lines(job["jobId"]))
    stored = laptop.client("s3").get_object(Bucket=DATASTORE_BUCKET, Key="k")
    assert stored["Body"].read() == b"v"


def test_a_job_knows_its_own_log_stream(laptop, submit, finish):
    program = (
        "import os, urllib.request as r; "
        "print(r.urlopen(os.environ['ECS_CONTAINER_METADATA_URI_V4']).read().decode())"
    )

    job = finish(submit(f'python -c "{program}"'))

    stream = job["attempts"][0]["container"]["logStreamName"]
    assert f'"awslogs-stream": "{stream}"' in next(laptop.log_lines(job["jobId"]))
