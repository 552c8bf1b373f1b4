"""Who may do what: 89 requests, judged by the policies that Terraform renders.

Each row is a request and the answer that the design asks for, written by hand. A role's own policy is judged
together with the policy of the bucket. The last tests ask moto, an independent judge, for what has no condition.
"""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from tests.infra.iam_policy import is_allowed

ACCOUNT = "123456789012"
QUEUE = f"arn:aws:batch:eu-central-1:{ACCOUNT}:job-queue/qwen-ft-test"
OTHER_QUEUE = f"arn:aws:batch:eu-central-1:{ACCOUNT}:job-queue/other"
DEFINITION = f"arn:aws:batch:eu-central-1:{ACCOUNT}:job-definition/metaflow_0123abcd:1"
OTHER_DEFINITION = f"arn:aws:batch:eu-central-1:{ACCOUNT}:job-definition/other:1"
JOB = f"arn:aws:batch:eu-central-1:{ACCOUNT}:job/0123abcd"
IMAGES = f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/qwen-ft-test/training"
OTHER_IMAGES = f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/other"
SECRET = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:hub-token-AbCdEf"
OTHER_SECRET = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:payroll-AbCdEf"
INPUT, DATASTORE, REGISTRY = (
    f"arn:aws:s3:::example-{name}" for name in ("input", "datastore", "registry")
)
OTHER_BUCKET = "arn:aws:s3:::other"
MANIFEST = f"{REGISTRY}/qwen/v1.0/manifest.json"
BLOB = f"{REGISTRY}/qwen/_blobs/sha256/00"
ALIAS = f"{REGISTRY}/qwen/_aliases/production.json"


def key(name: str) -> str:
    return f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{name}"


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


CREATE = {"s3:if-none-match": "*"}
TO_ECS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
PLAIN_HTTP = {"aws:SecureTransport": "false"}

# role, action, resource, further condition keys of the request, allowed
TABLE = [
    # A laptop starts jobs on the one queue, from Metaflow's definitions only.
    ("submitter", "batch:SubmitJob", QUEUE, {}, True),
    ("submitter", "batch:SubmitJob", DEFINITION, {}, True),
    ("submitter", "batch:SubmitJob", OTHER_QUEUE, {}, False),
    ("submitter", "batch:SubmitJob", OTHER_DEFINITION, {}, False),
    ("submitter", "batch:RegisterJobDefinition", DEFINITION, {}, True),
    ("submitter", "batch:RegisterJobDefinition", OTHER_DEFINITION, {}, False),
    ("submitter", "batch:DescribeJobQueues", "*", {}, True),
    ("submitter", "batch:DescribeComputeEnvironments", "*", {}, True),
    ("submitter", "batch:DescribeJobDefinitions", "*", {}, True),
    ("submitter", "batch:DescribeJobs", "*", {}, True),
    ("submitter", "batch:ListJobs", "*", {}, True),
    ("submitter", "batch:TerminateJob", JOB, {}, True),
    ("submitter", "batch:CreateJobQueue", QUEUE, {}, False),
    ("submitter", "batch:UpdateComputeEnvironment", "*", {}, False),
    ("submitter", "batch:DeleteJobQueue", QUEUE, {}, False),
    ("submitter", "iam:PassRole", role("qwen-ft-test-job"), TO_ECS, True),
    (
        "submitter",
        "iam:PassRole",
        role("qwen-ft-test-job"),
        {"iam:PassedToService": "ec2.amazonaws.com"},
        False,
    ),
    ("submitter", "iam:PassRole", role("admin"), TO_ECS, False),
    ("submitter", "sts:AssumeRole", role("qwen-ft-test-registrar"), {}, True),
    ("submitter", "sts:AssumeRole", role("break-glass"), {}, False),
    ("submitter", "s3:ListBucket", DATASTORE, {}, True),
    ("submitter", "s3:GetObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, True),
    ("submitter", "s3:PutObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, True),
    (
        "submitter",
        "s3:PutObject",
        f"{DATASTORE}/metaflow/TrainingFlow/1",
        PLAIN_HTTP,
        False,
    ),
    ("submitter", "s3:PutObject", f"{DATASTORE}/elsewhere/1", {}, False),
    ("submitter", "s3:DeleteObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, False),
    ("submitter", "kms:GenerateDataKey", key("datastore"), {}, True),
    ("submitter", "kms:Decrypt", key("datastore"), {}, True),
    ("submitter", "kms:Decrypt", key("input"), {}, True),
    ("submitter", "kms:Decrypt", key("registry"), {}, False),
    # start and tokenize are local steps: they read the input, too.
    ("submitter", "s3:ListBucket", INPUT, {}, True),
    ("submitter", "s3:GetObject", f"{INPUT}/rows.jsonl", {}, True),
    ("submitter", "s3:GetObjectVersion", f"{INPUT}/rows.jsonl", {}, True),
    ("submitter", "s3:PutObject", f"{INPUT}/rows.jsonl", {}, False),
    # Registering takes the other role.
    ("submitter", "s3:PutObject", BLOB, CREATE, False),
    ("submitter", "s3:GetObject", MANIFEST, {}, False),
    ("submitter", "secretsmanager:GetSecretValue", SECRET, {}, False),
    # A step on Batch reads the input and works in the datastore.
    ("job", "s3:GetObject", f"{INPUT}/rows.jsonl", {}, True),
    ("job", "s3:GetObjectVersion", f"{INPUT}/rows.jsonl", {}, True),
    ("job", "s3:PutObject", f"{INPUT}/rows.jsonl", {}, False),
    ("job", "s3:DeleteObject", f"{INPUT}/rows.jsonl", {}, False),
    ("job", "s3:ListBucket", DATASTORE, {}, True),
    ("job", "s3:GetObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, True),
    ("job", "s3:PutObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, True),
    ("job", "s3:PutObject", f"{DATASTORE}/metaflowx/1", {}, False),
    ("job", "s3:DeleteObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, False),
    ("job", "s3:GetObject", f"{OTHER_BUCKET}/anything", {}, False),
    ("job", "s3:PutObject", BLOB, CREATE, False),
    ("job", "s3:GetObject", MANIFEST, {}, False),
    ("job", "secretsmanager:GetSecretValue", SECRET, {}, True),
    ("job", "secretsmanager:GetSecretValue", OTHER_SECRET, {}, False),
    ("job", "kms:Decrypt", key("secrets"), {}, True),
    ("job", "kms:Decrypt", key("input"), {}, True),
    ("job", "kms:Decrypt", key("datastore"), {}, True),
    ("job", "kms:GenerateDataKey", key("datastore"), {}, True),
    ("job", "kms:GenerateDataKey", key("input"), {}, False),
    ("job", "batch:SubmitJob", QUEUE, {}, False),
    ("job", "sts:AssumeRole", role("qwen-ft-test-registrar"), {}, False),
    ("job", "iam:PassRole", role("qwen-ft-test-job"), TO_ECS, False),
    # The last step adds to the registry: a manifest once, aliases again and again, nothing away.
    ("registrar", "s3:ListBucket", REGISTRY, {}, True),
    ("registrar", "s3:GetObject", MANIFEST, {}, True),
    ("registrar", "s3:PutObject", BLOB, CREATE, True),
    ("registrar", "s3:PutObject", MANIFEST, CREATE, True),
    ("registrar", "s3:PutObject", MANIFEST, {}, False),
    # The parts of a multipart upload carry no If-None-Match; its completion does.
    (
        "registrar",
        "s3:PutObject",
        MANIFEST,
        {"s3:ObjectCreationOperation": "false"},
        True,
    ),
    ("registrar", "s3:PutObject", ALIAS, {"s3:if-match": '"etag"'}, True),
    ("registrar", "s3:PutObject", BLOB, CREATE | PLAIN_HTTP, False),
    ("registrar", "s3:DeleteObject", MANIFEST, {}, False),
    ("registrar", "s3:DeleteObjectVersion", MANIFEST, {}, False),
    ("registrar", "s3:BypassGovernanceRetention", MANIFEST, {}, False),
    ("registrar", "s3:PutObjectRetention", MANIFEST, {}, False),
    ("registrar", "kms:GenerateDataKey", key("registry"), {}, True),
    ("registrar", "kms:Decrypt", key("registry"), {}, True),
    ("registrar", "s3:GetObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, False),
    # The server reads.
    ("server", "s3:ListBucket", REGISTRY, {}, True),
    ("server", "s3:GetObject", ALIAS, {}, True),
    ("server", "kms:Decrypt", key("registry"), {}, True),
    ("server", "kms:GenerateDataKey", key("registry"), {}, False),
    ("server", "s3:PutObject", ALIAS, {}, False),
    ("server", "s3:GetObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, False),
    # GitHub pushes one image repository.
    ("ecr-push", "ecr:GetAuthorizationToken", "*", {}, True),
    ("ecr-push", "ecr:PutImage", IMAGES, {}, True),
    ("ecr-push", "ecr:InitiateLayerUpload", IMAGES, {}, True),
    ("ecr-push", "ecr:UploadLayerPart", IMAGES, {}, True),
    ("ecr-push", "ecr:CompleteLayerUpload", IMAGES, {}, True),
    ("ecr-push", "ecr:BatchCheckLayerAvailability", IMAGES, {}, True),
    ("ecr-push", "ecr:PutImage", OTHER_IMAGES, {}, False),
    ("ecr-push", "ecr:BatchDeleteImage", IMAGES, {}, False),
    ("ecr-push", "s3:GetObject", f"{DATASTORE}/metaflow/TrainingFlow/1", {}, False),
]
SEND_ALWAYS = {"aws:SecureTransport": "true", "s3:ObjectCreationOperation": "true"}


def statements(documents: dict[str, dict], address: str) -> list[dict]:
    return documents[address]["Statement"]


def bucket_statements(documents: dict[str, dict], resource: str) -> list[dict]:
    for name, arn in (
        ("input", INPUT),
        ("datastore", DATASTORE),
        ("registry", REGISTRY),
    ):
        if resource.startswith(arn):
            return statements(
                documents, f'module.buckets.aws_s3_bucket_policy.this["{name}"]'
            )
    return []


def judge(documents, who, action, resource, context) -> bool:
    own = statements(documents, f'module.roles.aws_iam_role_policy.this["{who}"]')
    request = SEND_ALWAYS | {"aws:PrincipalArn": role(f"qwen-ft-test-{who}")} | context
    return is_allowed(
        action, resource, request, own, bucket_statements(documents, resource)
    )


@pytest.mark.parametrize(
    ("who", "action", "resource", "context", "allowed"),
    TABLE,
    ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(TABLE)],
)
def test_a_role_may_do_what_the_table_says(
    rendered_policies, who, action, resource, context, allowed
):
    assert judge(rendered_policies, who, action, resource, context) is allowed


def test_each_granted_action_has_a_row_that_fails_without_it(rendered_policies):
    # Takes one action out of one statement at a time: some row of that role must then get another answer.
    unnoticed = []
    for who in ("submitter", "job", "registrar", "server", "ecr-push"):
        address = f'module.roles.aws_iam_role_policy.this["{who}"]'
        whole = statements(rendered_policies, address)
        rows = [row for row in TABLE if row[0] == who]
        for place, statement in enumerate(whole):
            for action in statement["Action"]:
                less = statement | {
                    "Action": [name for name in statement["Action"] if name != action]
                }
                changed = {
                    address: {"Statement": [*whole[:place], less, *whole[place + 1 :]]}
                }
                if all(
                    judge(rendered_policies | changed, *row[:4]) == row[4]
                    for row in rows
                ):
                    unnoticed.append(f"{who} {statement['Sid']} {action}")

    assert not unnoticed


def test_only_break_glass_deletes_from_the_registry(rendered_policies):
    administrator = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    guard = bucket_statements(rendered_policies, REGISTRY)
    for name, allowed in (("break-glass", True), ("administrator", False)):
        context = SEND_ALWAYS | {"aws:PrincipalArn": role(name)}
        for action in (
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:BypassGovernanceRetention",
        ):
            assert (
                is_allowed(action, MANIFEST, context, administrator, guard) is allowed
            )


def test_an_administrator_cannot_overwrite_a_manifest_either(rendered_policies):
    administrator = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    guard = bucket_statements(rendered_policies, REGISTRY)
    context = SEND_ALWAYS | {"aws:PrincipalArn": role("break-glass")}

    assert not is_allowed("s3:PutObject", MANIFEST, context, administrator, guard)
    assert is_allowed("s3:PutObject", MANIFEST, context | CREATE, administrator, guard)


def test_who_may_become_a_role(rendered_policies):
    github = {
        "Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    }
    found = {}
    for name in ("submitter", "job", "server", "ecr-push"):
        found[name] = statements(
            rendered_policies, f'module.roles.aws_iam_role.this["{name}"]'
        )
    [registrar] = statements(rendered_policies, "module.roles.aws_iam_role.registrar")

    assert [one["Principal"] for one in found["submitter"]] == [
        {"AWS": [role("developers")]},
        github,
    ]
    assert [one["Principal"] for one in found["job"]] == [
        {"Service": "ecs-tasks.amazonaws.com"}
    ]
    assert [one["Principal"] for one in found["server"]] == [
        {"Service": "ecs-tasks.amazonaws.com"}
    ]
    assert [one["Principal"] for one in found["ecr-push"]] == [github]
    assert registrar["Principal"] == {"AWS": role("qwen-ft-test-submitter")}
    for name, subject in (
        ("submitter", "environment:training"),
        ("ecr-push", "ref:refs/heads/main"),
    ):
        assert found[name][-1]["Condition"]["StringEquals"] == {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": [
                f"repo:example-org/example-repo:{subject}"
            ],
        }


@pytest.fixture
def as_role(rendered_policies, monkeypatch):
    """Clients of moto that act with the rendered policy of a role, enforced."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        root = boto3.client("s3", region_name="us-east-1")
        for bucket in ("example-input", "example-datastore", "example-registry"):
            root.create_bucket(Bucket=bucket)
            root.put_object(Bucket=bucket, Key="metaflow/object", Body=b"x")
        iam = boto3.client("iam", region_name="us-east-1")

        def client(who: str):
            iam.create_user(UserName=who)
            document = rendered_policies[
                f'module.roles.aws_iam_role_policy.this["{who}"]'
            ]
            iam.put_user_policy(
                UserName=who, PolicyName="own", PolicyDocument=json.dumps(document)
            )
            pair = iam.create_access_key(UserName=who)["AccessKey"]
            return boto3.client(
                "s3",
                region_name="us-east-1",
                aws_access_key_id=pair["AccessKeyId"],
                aws_secret_access_key=pair["SecretAccessKey"],
            )

        yield client


REQUESTS = [
    ("job", "example-input", "get", True),
    ("job", "example-input", "put", False),
    ("job", "example-datastore", "put", True),
    ("job", "example-datastore", "delete", False),
    ("job", "example-registry", "get", False),
    ("registrar", "example-registry", "put", True),
    ("registrar", "example-registry", "delete", False),
    ("registrar", "example-datastore", "get", False),
    ("server", "example-registry", "get", True),
    ("server", "example-registry", "put", False),
    ("submitter", "example-input", "get", True),
    ("submitter", "example-input", "put", False),
]


def test_moto_gives_the_same_answers(as_role):
    clients = {who: as_role(who) for who in ("job", "registrar", "server", "submitter")}
    answers = []
    with_rules = set_initial_no_auth_action_count(0)

    @with_rules
    def ask(who: str, bucket: str, verb: str) -> bool:
        place = {"Bucket": bucket, "Key": "metaflow/object"}
        calls = {
            "get": clients[who].get_object,
            "delete": clients[who].delete_object,
            "put": clients[who].put_object,
        }
        try:
            calls[verb](**place)
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("AccessDenied", "403")
            return False
        return True

    for who, bucket, verb, _ in REQUESTS:
        answers.append((who, bucket, verb, ask(who, bucket, verb)))

    assert answers == REQUESTS
