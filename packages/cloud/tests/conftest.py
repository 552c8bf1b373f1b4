"""One mocked S3 for the whole session; every test works below a prefix of its own, so nothing is made twice."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.cloud.src.s3_store import S3Store

BUCKET = "test-objects"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def mocked_s3() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        new_client().create_bucket(Bucket=BUCKET)
        yield


@pytest.fixture(scope="session")
def shared_client(mocked_s3: None) -> Any:
    return new_client()


@pytest.fixture
def faulty_client(mocked_s3: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the test's own, to hang event hooks on. botocore does not really sleep between its retries."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    return new_client()


@pytest.fixture(params=["folder", "s3", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, shared_client: Any
) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    if request.param == "memory":
        return MemoryStore()
    return S3Store(unique_uri(), shared_client)


def unique_uri() -> str:
    return f"s3://{BUCKET}/case-{next(_numbers)}"


@functools.cache
def _session() -> boto3.session.Session:
    """One session: it keeps the service description, which takes longest to load."""
    return boto3.session.Session()


def new_client() -> Any:
    config = Config(retries={"mode": "standard", "total_max_attempts": 5})
    return _session().client("s3", config=config)
