import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from packages.local_aws.src.account import (
    DATASTORE_BUCKET,
    INPUT_BUCKET,
    QUEUE,
    REGISTRY_BUCKET,
)
from packages.local_aws.src.emulator import Emulator, EmulatorProblem

pytestmark = pytest.mark.flow
SECONDS = 30


def ends(pid_handle):
    return select.select([pid_handle], [], [], SECONDS)[0] == [pid_handle]


def run_script(batch, script):
    definition = batch.register_job_definition(
        jobDefinitionName="script",
        type="container",
        containerProperties={
            "image": "busybox",
            "command": ["bash", "-c", script],
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "500"},
            ],
        },
    )["jobDefinitionArn"]
    return batch.submit_job(jobName="script", jobQueue=QUEUE, jobDefinition=definition)[
        "jobId"
    ]


def test_everything_listens_on_this_machine_only(laptop):
    state = laptop.state()

    for url in (state.aws_url, state.local_url):
        assert url.startswith("http://127.0.0.1:")
        port = int(url.rsplit(":", 1)[1])
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))


def test_the_account_has_what_the_flow_needs(laptop):
    buckets = {b["Name"] for b in laptop.client("s3").list_buckets()["Buckets"]}
    queue = laptop.client("batch").describe_job_queues(jobQueues=[QUEUE])["jobQueues"][
        0
    ]

    assert buckets == {DATASTORE_BUCKET, REGISTRY_BUCKET, INPUT_BUCKET}
    assert (queue["state"], queue["status"]) == ("ENABLED", "VALID")


def test_only_one_runs_in_a_folder(laptop, tmp_path):
    with pytest.raises(EmulatorProblem, match=str(laptop.state().pid)):
        Emulator(laptop.folder).start(metaflow_home=tmp_path)


def test_a_port_in_use_is_named(laptop, tmp_path):
    taken = int(laptop.state().local_url.rsplit(":", 1)[1])

    with pytest.raises(EmulatorProblem, match="Address already in use.*another port"):
        Emulator(tmp_path / "other").start(metaflow_home=tmp_path, local_port=taken)
    assert not Emulator(tmp_path / "other").is_running()


def test_where_none_runs_the_next_step_is_named(tmp_path):
    emulator = Emulator(tmp_path / "nothing")

    assert not emulator.is_running()
    assert not emulator.stop()
    with pytest.raises(EmulatorProblem, match="aws up"):
        emulator.state()


def test_jobs_are_found_by_id_its_beginning_and_name(laptop):
    job = run_script(laptop.client("batch"), "true")

    assert laptop.find_job(job).job_id == job
    assert laptop.find_job(job[:13]).job_id == job
    assert laptop.find_job("script").name == "script"
    with pytest.raises(EmulatorProblem, match=job):
        laptop.find_job("no such job")


def test_it_and_its_jobs_end_with_the_process_that_started_it(tmp_path):
    os.mkfifo(tmp_path / "ready")
    code = (
        "import sys, pathlib, time\n"
        "from packages.local_aws.src.emulator import Emulator\n"
        "from packages.local_aws.tests.test_emulator import run_script\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "emulator = Emulator(folder / 'emulator')\n"
        "emulator.start(metaflow_home=folder)\n"
        "job = f'setsid sleep 600 & echo $! > {folder}/ready; wait'\n"
        "run_script(emulator.client('batch'), job)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    in_job = os.pidfd_open(int((tmp_path / "ready").read_text()))
    emulator = os.pidfd_open(Emulator(tmp_path / "emulator").state().pid)

    starter.send_signal(signal.SIGKILL)
    starter.wait()

    assert ends(emulator)
    assert ends(in_job)
    assert not Emulator(tmp_path / "emulator").is_running()
    assert not (tmp_path / "config_laptop-aws.json").exists()


def test_an_emulator_that_is_killed_takes_its_jobs_along(tmp_path):
    os.mkfifo(tmp_path / "ready")
    with Emulator(tmp_path / "emulator") as emulator:
        state = emulator.start(metaflow_home=tmp_path, ends_with_me=False)
        script = f"setsid sleep 600 & echo $! > {tmp_path}/ready; wait"
        run_script(emulator.client("batch"), script)
        in_job = os.pidfd_open(int((tmp_path / "ready").read_text()))

        os.kill(state.pid, signal.SIGKILL)

        assert ends(in_job)


def test_with_a_data_folder_the_account_survives_a_restart(tmp_path):
    emulator = Emulator(tmp_path / "emulator")
    settings = {"metaflow_home": tmp_path, "data": tmp_path / "data"}
    with emulator:
        emulator.start(**settings)
        s3 = emulator.client("s3")
        for body in (b"one", b"two"):
            s3.put_object(Bucket=REGISTRY_BUCKET, Key="k", Body=body)
        versions = s3.list_object_versions(Bucket=REGISTRY_BUCKET)["Versions"]
        emulator.client("ssm").put_parameter(Name="/a", Value="b", Type="String")
        emulator.client("batch").create_job_queue(
            jobQueueName="second",
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": QUEUE}],
        )
        run_script(emulator.client("batch"), "true")
    with emulator:
        emulator.start(**settings)
        s3 = emulator.client("s3")
        stored = s3.get_object(Bucket=REGISTRY_BUCKET, Key="k")

        assert stored["Body"].read() == b"two"
        assert s3.list_object_versions(Bucket=REGISTRY_BUCKET)["Versions"] == versions
        parameter = emulator.client("ssm").get_parameter(Name="/a")["Parameter"]
        assert parameter["Value"] == "b"
        batch = emulator.client("batch")
        assert len(batch.describe_job_queues()["jobQueues"]) == 2
        assert emulator.jobs() == [], "jobs are not kept"
        assert run_script(batch, "true") in [job.job_id for job in emulator.jobs()]


def test_with_permissions_enforced_the_job_role_is_a_border(tmp_path):
    with Emulator(tmp_path / "emulator") as emulator:
        state = emulator.start(metaflow_home=tmp_path, enforce_iam=True)
        emulator.client("s3").put_object(Bucket=REGISTRY_BUCKET, Key="k", Body=b"v")
        assert state.environment["AWS_ACCESS_KEY_ID"].startswith("AKIA")
        batch = emulator.client("batch")
        definition = batch.register_job_definition(
            jobDefinitionName="reach",
            type="container",
            containerProperties={
                "image": "busybox",
                "jobRoleArn": "arn:aws:iam::123456789012:role/laptop-batch-job",
                "command": ["python", "-c", REACH],
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "1000"},
                ],
            },
        )["jobDefinitionArn"]
        job = batch.submit_job(
            jobName="reach", jobQueue=QUEUE, jobDefinition=definition
        )
        while not (found := emulator.find_job("reach")).status.endswith("ED"):
            pass
        lines = list(emulator.log_lines(job["jobId"]))

    assert found.status == "SUCCEEDED", lines
    assert lines == [
        "registry read: allowed",
        "registry write: AccessDenied",
        "datastore write: allowed",
        "datastore delete: AccessDenied",
    ]


REACH = f"""
import boto3
from botocore.exceptions import ClientError
s3 = boto3.client("s3")
def attempt(name, call, **what):
    try:
        call(**what)
        print(name + ": allowed")
    except ClientError as error:
        print(name + ": " + error.response["Error"]["Code"])
attempt("registry read", s3.get_object, Bucket="{REGISTRY_BUCKET}", Key="k")
attempt("registry write", s3.put_object, Bucket="{REGISTRY_BUCKET}", Key="k", Body=b"x")
attempt("datastore write", s3.put_object, Bucket="{DATASTORE_BUCKET}", Key="k", Body=b"x")
attempt("datastore delete", s3.delete_object, Bucket="{DATASTORE_BUCKET}", Key="k")
"""
