"""One mocked S3 for the session; a store of each kind below a prefix of its own."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from packages.cloud.src.folder_store import FolderStore
from packages.cloud.src.memory_store import MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.cloud.src.s3_store import S3Store

BUCKET = "test-registry"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_client() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        client = new_client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        yield client


@pytest.fixture(params=["folder", "s3", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, s3_client: Any
) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "registry")
    if request.param == "memory":
        return MemoryStore()
    return S3Store(unique_uri(), s3_client)


def unique_uri() -> str:
    return f"s3://{BUCKET}/case-{next(_numbers)}"


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


def new_client() -> Any:
    config = Config(retries={"mode": "standard", "total_max_attempts": 5})
    return _session().client("s3", config=config)
