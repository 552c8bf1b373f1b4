"""Whether what a run on AWS Batch needs is there, each with what to do if it is not."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

Client = Callable[[str], Any]  # service name -> boto3 client
ECR_IMAGE = re.compile(
    r"^(?P<registry>\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/"
    r"(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
DENIED = ("AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation")
PROBE_KEY = "doctor/probe"
NEVER_WRITTEN = "doctor/never-written"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table. `fix` is empty unless `state` is "fail"."""

    name: str
    state: Literal["ok", "fail", "skip"]
    found: str
    fix: str = ""


@dataclass(frozen=True)
class AwsSettings:
    """The addresses of the Metaflow profile, and of the registry; "" where not set."""

    datastore_uri: str
    queue: str
    role_arn: str
    image: str
    registry_uri: str


def check_aws(settings: AwsSettings, client: Client, probe: bool) -> list[Check]:
    """Every check, in the order in which a run would meet them.

    Args:
        client: makes a boto3 client.
        probe: also write, read and try to delete for real, in the datastore and registry.
    """
    identity = _identity(client)
    if identity.state == "fail":
        return [identity]  # all others would say the same
    checks = [
        identity,
        _queue(settings.queue, client),
        _role(settings.role_arn, client),
        _image(settings.image, client),
        _bucket("datastore bucket", settings.datastore_uri, client),
        _bucket("registry bucket", settings.registry_uri, client),
    ]
    if probe:
        checks += _probes(settings, client)
    return checks


def _identity(client: Client) -> Check:
    try:
        return Check("identity", "ok", client("sts").get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError) as error:
        fix = "Sign in (`aws sso login`), or set AWS_PROFILE or AWS_ENDPOINT_URL."
        return Check("identity", "fail", _short(error), fix)


def _queue(name: str, client: Client) -> Check:
    if not name:
        fix = "Set METAFLOW_BATCH_JOB_QUEUE in the profile: `terraform output metaflow_config`."
        return Check("queue", "fail", "none is set", fix)
    try:
        batch = client("batch")
        queues = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        if not queues:
            fix = "Correct METAFLOW_BATCH_JOB_QUEUE, or look at AWS_DEFAULT_REGION."
            return Check("queue", "fail", f"{name} does not exist", fix)
        queue = queues[0]
        state = f"{queue['state']}, {queue['status']}"
        if state != "ENABLED, VALID":
            return Check(
                "queue", "fail", f"{name} is {state}", "Enable it in AWS Batch."
            )
        names = [e["computeEnvironment"] for e in queue["computeEnvironmentOrder"]]
        described = batch.describe_compute_environments(computeEnvironments=names)
    except (BotoCoreError, ClientError) as error:
        return _unseen("queue", name, error)
    environments = described["computeEnvironments"]
    working = [
        f"{e['computeEnvironmentName']} ({e['computeResources']['type']}, "
        f"at most {e['computeResources']['maxvCpus']} vCPUs)"
        for e in environments
        if (e["state"], e["status"]) == ("ENABLED", "VALID")
    ]
    if working:
        return Check("queue", "ok", f"{name} on {', '.join(working)}")
    reasons = "; ".join(
        f"{e['computeEnvironmentName']} is {e['state']}, {e['status']}: "
        f"{e.get('statusReason', 'no reason given')}"
        for e in environments
    )
    fix = "Enable one, or put right what its reason says."
    return Check(
        "queue", "fail", f"{name} has no environment that works: {reasons}", fix
    )


def _role(arn: str, client: Client) -> Check:
    if not arn:
        fix = "Set METAFLOW_ECS_S3_ACCESS_IAM_ROLE in the profile."
        return Check("job role", "fail", "none is set", fix)
    try:
        client("iam").get_role(RoleName=arn.rsplit("/", 1)[-1])
    except (BotoCoreError, ClientError) as error:
        fix = "Correct METAFLOW_ECS_S3_ACCESS_IAM_ROLE, or apply the Terraform again."
        return _unseen("job role", arn, error, fix)
    return Check("job role", "ok", arn)


def _image(image: str, client: Client) -> Check:
    if not image:
        fix = "Set METAFLOW_BATCH_CONTAINER_IMAGE: Metaflow's own has none of our libraries."
        return Check("image", "fail", "none is set", fix)
    parsed = ECR_IMAGE.match(image)
    if parsed is None:
        return Check("image", "skip", f"{image} is not in ECR: not looked at")
    wanted = (
        {"imageDigest": parsed["digest"]}
        if parsed["digest"]
        else {"imageTag": parsed["tag"] or "latest"}
    )
    try:
        found = client("ecr").describe_images(
            registryId=parsed["registry"],
            repositoryName=parsed["name"],
            imageIds=[wanted],
        )["imageDetails"][0]
    except (BotoCoreError, ClientError) as error:
        fix = "Push it with the workflow build-and-push-ecr, and take the digest it prints."
        return _unseen("image", image, error, fix)
    return Check("image", "ok", f"{parsed['name']} {found['imageDigest'][:19]}")


def _bucket(name: str, uri: str, client: Client) -> Check:
    if not uri.startswith("s3://"):
        return Check(name, "skip", f"{uri or 'none'} is not in S3")
    bucket = urlsplit(uri).netloc
    try:
        client("s3").list_objects_v2(Bucket=bucket, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        fix = f"Make the bucket {bucket}, or allow s3:ListBucket on it."
        return _unseen(name, uri, error, fix)
    return Check(name, "ok", uri)


def _probes(settings: AwsSettings, client: Client) -> Iterator[Check]:
    s3 = client("s3")
    if settings.datastore_uri.startswith("s3://"):
        place = _place(settings.datastore_uri, PROBE_KEY)
        body = b"written by doctor --aws"
        try:
            s3.put_object(**place, Body=body)
            same = s3.get_object(**place)["Body"].read() == body
        except (BotoCoreError, ClientError) as error:
            fix = "Allow s3:PutObject and s3:GetObject on the datastore."
            yield Check("datastore write", "fail", _short(error), fix)
        else:
            found = "written and read back" if same else "read back other bytes"
            fix = "" if same else "Look for another writer of this key."
            yield Check("datastore write", "ok" if same else "fail", found, fix)
    if settings.registry_uri.startswith("s3://"):
        yield _may_not_delete(settings.registry_uri, s3)


def _may_not_delete(uri: str, s3: Any) -> Check:
    """Registered versions are for ever: whoever runs the flow may not delete."""
    name = "registry delete"
    try:
        s3.delete_object(**_place(uri, NEVER_WRITTEN))
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            return Check(name, "ok", "denied, as it should be")
        return Check(name, "fail", _short(error), "Look at the bucket's policy.")
    fix = "Use the submitter role: a version that can be deleted is not for ever."
    return Check(name, "fail", "you may delete from the registry", fix)


def _place(uri: str, key: str) -> dict[str, str]:
    parts = urlsplit(uri)
    return {"Bucket": parts.netloc, "Key": f"{parts.path.strip('/')}/{key}".lstrip("/")}


def _unseen(name: str, what: str, error: Exception, fix: str = "") -> Check:
    """A look that failed: not allowed to look is no proof that it is missing."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in DENIED and name in ("job role", "image"):
        return Check(name, "skip", f"{what}: you may not look ({_short(error)})")
    return Check(name, "fail", f"{what}: {_short(error)}", fix or "See the message.")


def _short(error: Exception) -> str:
    """AWS's words, without "An error occurred ... when calling ...:"."""
    if isinstance(error, ClientError):
        told = error.response["Error"]
        return f"{told['Code']}: {told.get('Message', '')}".rstrip(": ")
    return str(error).splitlines()[0]
