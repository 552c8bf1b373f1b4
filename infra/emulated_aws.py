"""AWS on this machine for Terraform: moto on 127.0.0.1, with what it lacks for our environments."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

# Read by moto when it is imported: the environments attach policies that AWS itself keeps.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from moto.batch.exceptions import ClientException  # noqa: E402
from moto.batch.models import BatchBackend  # noqa: E402
from moto.budgets.responses import BudgetsResponse  # noqa: E402
from moto.ec2.models import EC2Backend  # noqa: E402
from moto.iam.access_control import IAMPolicy, PermissionResult  # noqa: E402
from moto.s3.models import FakeBucket  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

REGION = "eu-central-1"

# Resource type and attribute that moto takes and does not give back, so that every plan would set them again.
FORGOTTEN = {
    ("aws_budgets_budget", "tags_all"),
    ("aws_ecs_service", "availability_zone_rebalancing"),
    ("aws_ecs_service", "enable_execute_command"),
    ("aws_ecs_service", "health_check_grace_period_seconds"),
    ("aws_vpc_security_group_egress_rule", "description"),
    ("aws_vpc_security_group_ingress_rule", "description"),
}

create_environment = BatchBackend.create_compute_environment
delete_environment = BatchBackend.delete_compute_environment
create_template = EC2Backend.create_launch_template


def create_with_linked_role(self: Any, *args: Any, **kwargs: Any) -> Any:
    """AWS takes its service-linked role where none is named; moto calls that an error."""
    if not kwargs.get("service_role"):
        iam = self.iam_backend
        roles = {role.name.lower(): role for role in iam.roles.values()}
        role = roles.get("awsserviceroleforbatch") or iam.create_service_linked_role(
            "batch.amazonaws.com", "", ""
        )
        kwargs["service_role"] = role.arn
    return create_environment(self, *args, **kwargs)


def delete_what_no_queue_uses(self: Any, name: str) -> Any:
    """AWS refuses to delete an environment that a queue names; moto forgets it quietly."""
    used = [one for queue in self._job_queues.values() for one in queue.environments]
    if name in {one.name for one in used} | {one.arn for one in used}:
        raise ClientException("Cannot delete, found existing JobQueue relationship")
    return delete_environment(self, name)


def template_without_echo(
    self: Any, name: str, description: str, data: dict[str, Any], tags: Any
) -> Any:
    """moto writes the template's own tags into what the template gives to machines."""
    data.pop("TagSpecifications", None)
    return create_template(self, name, description, data, tags)


def permission_without_conditions(self: Any, action: str, resource: str) -> Any:
    """moto denies by a statement whose condition it cannot judge: TlsOnly would shut every bucket.

    tests/infra/test_allow_deny.py judges the conditional statements instead.
    """
    policy = json.loads(self.policy or '{"Statement": []}')
    plain = [one for one in policy["Statement"] if "Condition" not in one]
    if not plain:
        return PermissionResult.NEUTRAL
    judge = IAMPolicy(json.dumps(policy | {"Statement": plain}))
    return judge.is_action_permitted(action, resource)


def subscribers(self: Any) -> str:
    """moto keeps a budget's notifications, but not who gets them."""
    owner = {"SubscriptionType": "EMAIL", "Address": "owner@example.com"}
    return json.dumps({"Subscribers": [owner]})


def no_tags(self: Any) -> str:
    """moto takes a budget when it is made, gives no tags back, and changes nothing."""
    return json.dumps({"ResourceTags": []})


def complete_moto() -> None:
    """Put the functions above in the places of moto's own."""
    BatchBackend.create_compute_environment = create_with_linked_role
    BatchBackend.delete_compute_environment = delete_what_no_queue_uses
    EC2Backend.create_launch_template = template_without_echo
    FakeBucket.get_permission = permission_without_conditions
    BudgetsResponse.describe_subscribers_for_notification = subscribers
    BudgetsResponse.list_tags_for_resource = no_tags
    BudgetsResponse.tag_resource = no_tags
    BudgetsResponse.update_budget = no_tags


@contextlib.contextmanager
def emulated_aws() -> Iterator[dict[str, str]]:
    """moto on a free port of 127.0.0.1, until the block ends; yields the variables that point clients to it."""
    complete_moto()
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # noqa: S105
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.stop()
