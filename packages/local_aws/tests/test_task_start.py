from types import SimpleNamespace

import pytest

from packages.local_aws.src.task_start import missing_image, missing_role

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def ecr():
    image = SimpleNamespace(image_tags=["abc1234"], get_image_digest=lambda: DIGEST)
    registry = SimpleNamespace(repositories={"qwen": SimpleNamespace(images=[image])})
    return {"123456789012": {"us-east-1": registry}}


@pytest.mark.parametrize(
    "image",
    [f"{REGISTRY}/qwen:abc1234", f"{REGISTRY}/qwen@{DIGEST}", "python:3.11", "busybox"],
)
def test_an_image_that_is_there_or_elsewhere_starts(image, ecr):
    assert missing_image(image, ecr) is None


@pytest.mark.parametrize(
    "image", [f"{REGISTRY}/qwen:other", f"{REGISTRY}/qwen", f"{REGISTRY}/llama:abc1234"]
)
def test_an_image_that_was_never_pushed_is_named(image, ecr):
    reason = missing_image(image, ecr)

    assert reason.startswith("CannotPullContainerError")
    assert image in reason


def test_a_role_that_does_not_exist_is_named():
    iam = SimpleNamespace(roles={"x": SimpleNamespace(arn="arn:aws:iam::1:role/there")})

    assert missing_role("arn:aws:iam::1:role/there", iam) is None
    assert missing_role(None, iam) is None
    assert "role/gone" in missing_role("arn:aws:iam::1:role/gone", iam)
