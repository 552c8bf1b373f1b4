"""Against moto, in this process, each time in an account of its own."""

import json
from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from packages.cloud.src.aws_checks import AwsSettings, check_aws

ROLE = "arn:aws:iam::123456789012:role/job"
SETTINGS = AwsSettings(
    datastore_uri="s3://datastore/metaflow",
    queue="gpu",
    role_arn=ROLE,
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/qwen-training:abc1234",
    registry_uri="s3://registry/models",
)


@pytest.fixture(scope="module")
def client():
    """Clients of an account that has everything."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        made = {
            name: boto3.client(name) for name in ("s3", "iam", "ecr", "sts", "batch")
        }
        for bucket in ("datastore", "registry"):
            made["s3"].create_bucket(Bucket=bucket)
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        made["iam"].create_role(RoleName="job", AssumeRolePolicyDocument=trust)
        made["ecr"].create_repository(repositoryName="qwen-training")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        }
        made["ecr"].put_image(
            repositoryName="qwen-training",
            imageTag="abc1234",
            imageManifest=json.dumps(manifest),
        )
        yield made.__getitem__


class FakeBatch:
    """Answers of Batch: moto needs a network and a role for the real calls."""

    def __init__(self, state="ENABLED", environment="VALID"):
        self.state, self.environment = state, environment

    def describe_job_queues(self, jobQueues):  # noqa: N803
        if jobQueues != ["gpu"]:
            return {"jobQueues": []}
        order = [{"order": 1, "computeEnvironment": "spot"}]
        queue = {
            "state": self.state,
            "status": "VALID",
            "computeEnvironmentOrder": order,
        }
        return {"jobQueues": [queue]}

    def describe_compute_environments(self, computeEnvironments):  # noqa: N803
        spot = {
            "computeEnvironmentName": "spot",
            "state": "ENABLED",
            "status": self.environment,
            "statusReason": "CLIENT_ERROR - no such subnet",
            "computeResources": {"type": "SPOT", "maxvCpus": 16},
        }
        return {"computeEnvironments": [spot]}


def look(client, settings=SETTINGS, batch=None, probe=False, **instead):
    others = {"batch": batch or FakeBatch(), **instead}
    checks = check_aws(settings, lambda s: others.get(s) or client(s), probe)
    return {check.name: check for check in checks}


def test_an_account_that_has_everything_is_all_right(client):
    checks = look(client)

    assert {check.state for check in checks.values()} == {"ok"}
    assert all(check.fix == "" for check in checks.values())
    assert checks["queue"].found == "gpu on spot (SPOT, at most 16 vCPUs)"


@pytest.mark.parametrize(
    ("name", "changed", "found"),
    [
        ("queue", {"queue": ""}, "none is set"),
        ("queue", {"queue": "other"}, "other does not exist"),
        ("job role", {"role_arn": ""}, "none is set"),
        ("job role", {"role_arn": ROLE + "s"}, "NoSuchEntity"),
        ("image", {"image": ""}, "none is set"),
        ("image", {"image": SETTINGS.image + "0"}, "ImageNotFoundException"),
        ("datastore bucket", {"datastore_uri": "s3://gone/x"}, "NoSuchBucket"),
        ("registry bucket", {"registry_uri": "s3://gone/x"}, "NoSuchBucket"),
    ],
)
def test_what_is_missing_is_named_with_a_fix(client, name, changed, found):
    checks = look(client, replace(SETTINGS, **changed))

    assert checks[name].state == "fail"
    assert found in checks[name].found
    assert checks[name].fix
    assert [c.name for c in checks.values() if c.state == "fail"] == [name]


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (FakeBatch(state="DISABLED"), "gpu is DISABLED, VALID"),
        (FakeBatch(environment="INVALID"), "CLIENT_ERROR - no such subnet"),
    ],
)
def test_a_queue_that_starts_nothing_is_no_queue(client, batch, found):
    queue = look(client, batch=batch)["queue"]

    assert queue.state == "fail"
    assert found in queue.found


def test_what_lies_elsewhere_is_not_looked_at(client):
    elsewhere = replace(SETTINGS, image="python:3.11", registry_uri="registry")

    checks = look(client, elsewhere)

    assert checks["image"].state == checks["registry bucket"].state == "skip"


class Refusing:
    """A client whose every call is refused in one way."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        def call(**_):
            raise self.error

        return call


DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetRole")


def test_not_to_be_allowed_to_look_is_not_a_fault(client):
    checks = look(client, iam=Refusing(DENIED))

    assert checks["job role"].state == "skip"
    assert "you may not look" in checks["job role"].found


def test_without_an_identity_only_that_is_told(client):
    checks = look(client, sts=Refusing(NoCredentialsError()))

    assert list(checks) == ["identity"]
    assert "aws sso login" in checks["identity"].fix


def test_a_probe_writes_reads_and_warns_of_the_right_to_delete(client):
    checks = look(client, probe=True)
    stored = client("s3").get_object(Bucket="datastore", Key="metaflow/doctor/probe")

    assert checks["datastore write"].state == "ok"
    assert stored["Body"].read() == b"written by doctor --aws"
    assert checks["registry delete"].state == "fail"
    assert "submitter role" in checks["registry delete"].fix


def test_to_be_denied_to_delete_is_right(client):
    class ReadOnly:
        def __getattr__(self, name):
            if name in ("put_object", "delete_object"):
                return getattr(Refusing(DENIED), name)
            return getattr(client("s3"), name)

    checks = look(client, probe=True, s3=ReadOnly())

    assert checks["registry delete"].state == "ok"
    assert checks["datastore write"].state == "fail"
    assert "s3:PutObject" in checks["datastore write"].fix
