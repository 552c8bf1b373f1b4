"""The account that `aws up` makes: what the Terraform modules make in a real one."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
DATASTORE_BUCKET = "metaflow-datastore"
REGISTRY_BUCKET = "qwen-model-registry"
INPUT_BUCKET = "training-input"
QUEUE = "laptop-gpu"
COMPUTE_ENVIRONMENT = "laptop-gpu"
IMAGE_REPOSITORY = "qwen-training"
IMAGE_TAG = "laptop"
JOB_ROLE = "laptop-batch-job"
INSTANCE_ROLE = "laptop-batch-instance"
CLIENT_USER = "laptop"
INSTANCE_TYPES = ("g5.xlarge", "g6.xlarge")
MOST_VCPUS = max(4, os.cpu_count() or 1)  # one training of 4 vCPUs fits any laptop
EXISTS = (
    "EntityAlreadyExists",
    "RepositoryAlreadyExistsException",
    "ImageAlreadyExistsException",
)


def role_arn(name: str) -> str:
    """The ARN of a role of the emulated account."""
    return f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"


IMAGE = f"{ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/{IMAGE_REPOSITORY}:{IMAGE_TAG}"


@dataclass(frozen=True)
class Keys:
    """What the client signs with."""

    access_key_id: str
    secret_access_key: str


FIRST_KEYS = Keys("laptop", "laptop")  # enough while permissions are not enforced


def connect(service: str, url: str, keys: Keys = FIRST_KEYS) -> Any:
    """A boto3 client of the emulator, whatever AWS settings the caller has."""
    return boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=None,
    )


def make_account(url: str) -> None:
    """Make whatever is missing; what exists stays as it is."""
    _make_buckets(url)
    _make_roles(url)
    _make_image(url)
    _make_queue(url)


def make_client_keys(url: str) -> Keys:
    """Keys of an administrator, for when permissions are enforced."""
    iam = connect("iam", url)
    with _unless_it_exists():
        iam.create_user(UserName=CLIENT_USER)
    iam.put_user_policy(
        UserName=CLIENT_USER,
        PolicyName="administrator",
        PolicyDocument=_policy(("*", "*")),
    )
    key = iam.create_access_key(UserName=CLIENT_USER)["AccessKey"]
    return Keys(key["AccessKeyId"], key["SecretAccessKey"])


@contextlib.contextmanager
def _unless_it_exists() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in EXISTS:
            raise


def _make_buckets(url: str) -> None:
    s3 = connect("s3", url)
    # In us-east-1 to make a bucket again is no error, and moto empties it.
    known = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in (DATASTORE_BUCKET, INPUT_BUCKET, REGISTRY_BUCKET):
        if bucket in known:
            continue
        locked = bucket == REGISTRY_BUCKET
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked)
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )


def _make_roles(url: str) -> None:
    iam = connect("iam", url)
    for name, service in (
        (JOB_ROLE, "ecs-tasks.amazonaws.com"),
        (INSTANCE_ROLE, "ec2.amazonaws.com"),
    ):
        with _unless_it_exists():
            iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(
                    {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": service},
                                "Action": "sts:AssumeRole",
                            }
                        ],
                    }
                ),
            )
    iam.put_role_policy(
        RoleName=JOB_ROLE, PolicyName="job", PolicyDocument=_job_policy()
    )
    with _unless_it_exists():
        iam.create_instance_profile(InstanceProfileName=INSTANCE_ROLE)


def _job_policy() -> str:
    """The datastore to read and write; the input and the registry to read."""
    read = [
        f"arn:aws:s3:::{bucket}/*"
        for bucket in (DATASTORE_BUCKET, INPUT_BUCKET, REGISTRY_BUCKET)
    ]
    return _policy(
        (["s3:GetObject", "s3:GetObjectVersion"], read),
        (
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            f"arn:aws:s3:::{DATASTORE_BUCKET}/*",
        ),
        (
            ["s3:ListBucket", "s3:GetBucketLocation"],
            [resource.removesuffix("/*") for resource in read],
        ),
    )


def _policy(*allowed: tuple[Any, Any]) -> str:
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resources}
        for actions, resources in allowed
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _make_image(url: str) -> None:
    """A repository with one tag. Its content is this interpreter: nothing is pulled."""
    ecr = connect("ecr", url)
    with _unless_it_exists():
        ecr.create_repository(
            repositoryName=IMAGE_REPOSITORY, imageTagMutability="IMMUTABLE"
        )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": IMAGE_TAG},
        "layers": [],
    }
    with _unless_it_exists():
        ecr.put_image(
            repositoryName=IMAGE_REPOSITORY,
            imageManifest=json.dumps(manifest),
            imageTag=IMAGE_TAG,
        )


def _make_queue(url: str) -> None:
    batch, ec2 = connect("batch", url), connect("ec2", url)
    if batch.describe_job_queues(jobQueues=[QUEUE])["jobQueues"]:
        return
    subnets = ec2.describe_subnets()["Subnets"]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    batch.create_compute_environment(
        computeEnvironmentName=COMPUTE_ENVIRONMENT,
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "SPOT",
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "minvCpus": 0,
            "maxvCpus": MOST_VCPUS,
            "instanceTypes": list(INSTANCE_TYPES),
            "subnets": [subnets[0]["SubnetId"]],
            "securityGroupIds": [groups[0]["GroupId"]],
            "instanceRole": (
                f"arn:aws:iam::{ACCOUNT_ID}:instance-profile/{INSTANCE_ROLE}"
            ),
        },
        serviceRole=role_arn(INSTANCE_ROLE),
    )
    batch.create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[
            {"order": 1, "computeEnvironment": COMPUTE_ENVIRONMENT}
        ],
    )
