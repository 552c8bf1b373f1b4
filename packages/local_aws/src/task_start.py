"""What stops ECS from starting a job's container: an image or a role that is not there."""

import re
from typing import Any

ECR_IMAGE = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/"
    r"(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


def missing_image(image: str, ecr_backends: Any) -> str | None:
    """ECS's reason when an image of the emulated ECR is not there.

    Images of other registries are taken to exist: nothing is pulled.
    """
    parsed = ECR_IMAGE.match(image)
    if parsed is None:
        return None
    registry = ecr_backends[parsed["account"]][parsed["region"]]
    repository = registry.repositories.get(parsed["name"])
    wanted = parsed["digest"] or parsed["tag"] or "latest"
    known = {
        name
        for stored in (repository.images if repository else [])
        for name in [*stored.image_tags, stored.get_image_digest()]
    }
    if wanted in known:
        return None
    return (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {image}: {image}: not found"
    )


def missing_role(arn: str | None, iam_backend: Any) -> str | None:
    """ECS's reason when a job's role does not exist."""
    if arn is None or any(role.arn == arn for role in iam_backend.roles.values()):
        return None
    return (
        f"ECS was unable to assume the role '{arn}' that was provided for this task. "
        "Please verify that the role being passed has the proper trust relationship "
        "and permissions and that your IAM user has permissions to pass this role."
    )
