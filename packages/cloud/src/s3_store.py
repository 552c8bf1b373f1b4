"""Objects in S3 by conditional writes alone: no lock table, no clock, no trust in listings."""

import base64
import contextlib
import hashlib
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from packages.cloud.src.exit_codes import EX_TEMPFAIL, EX_USAGE, UserError
from packages.cloud.src.object_store import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoredObject,
    checked_key,
    sha256_of_file,
)
from packages.cloud.src.s3_errors import explained

MULTIPART_BYTES = (
    64 * 2**20
)  # one PUT up to here; also the part size, so 10,000 parts reach 640 GB
TRIES = 8  # of what botocore does not retry itself; 0.1 s doubling is 12.7 s in all
MISSING = ("NoSuchKey", "404", "NotFound")
TRY_AGAIN = ("ConditionalRequestConflict", "OperationAborted", "BadDigest")
BROKEN_READS = (
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    FlexibleChecksumError,
)
Result = TypeVar("Result")


class S3Store:
    """An `ObjectStore` below `s3://bucket/prefix`. AWS_ENDPOINT_URL, profile and region are read by boto3 itself.

    Three answers of S3 need care. 412 may be the echo of our own write whose acknowledgement was lost and which
    botocore sent again: the stored bytes decide. 409 ConditionalRequestConflict means that two writes met: try again.
    A body that breaks off is read again from its start, in one request, so that no two versions mix.

    Args:
        uri: `s3://bucket` or `s3://bucket/prefix`.
        client: a boto3 S3 client; made on first use if not given.
        sleep: waits between tries, seconds.
    """

    def __init__(
        self,
        uri: str,
        client: Any = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        parts = urlsplit(uri)
        folder = parts.path.strip("/")
        try:
            self.prefix = checked_key(folder) + "/" if folder else ""
        except ValueError as error:
            raise UserError(f"{uri!r} is no S3 address: {error}", EX_USAGE) from error
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise UserError(
                f"{uri!r} is no S3 address. Expected s3://bucket/prefix.", EX_USAGE
            )
        self.bucket = parts.netloc
        self.uri = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._given_client = client
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    @cached_property
    def client(self) -> Any:
        """The boto3 client. Own session: the default one is not safe to share between threads."""
        if self._given_client is not None:
            return self._given_client
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=10,
            read_timeout=60,
        )
        try:
            return boto3.session.Session().client("s3", config=config)
        except BotoCoreError as error:
            raise explained(error, "Sign-in", self.bucket, "", "AWS") from error

    def read(self, key: str) -> bytes:
        return self.read_with_etag(key)[0]

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        return self._get(key, lambda answer: (answer["Body"].read(), answer["ETag"]))

    def stat(self, key: str) -> StoredObject:
        answer = self._call("head_object", key)
        return StoredObject(
            key, answer["ContentLength"], answer["ETag"], answer["LastModified"]
        )

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except ObjectMissing:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        pages = self.client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for row in page.get("Contents", ()):
                    key = row["Key"].removeprefix(self.prefix)
                    yield StoredObject(
                        key, row["Size"], row["ETag"], row["LastModified"]
                    )
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error, "list_objects_v2", "") from error

    def create(self, key: str, data: bytes) -> None:
        digest = hashlib.sha256(data)
        self._create(
            key,
            digest.hexdigest(),
            lambda: self._put(key, data, digest.digest(), IfNoneMatch="*"),
        )

    def create_from_file(self, key: str, path: Path) -> None:
        sha256 = sha256_of_file(path)
        if path.stat().st_size > MULTIPART_BYTES:
            self._create(key, sha256, lambda: self._upload_in_parts(key, path))
        else:
            data = path.read_bytes()
            self._create(
                key,
                sha256,
                lambda: self._put(key, data, bytes.fromhex(sha256), IfNoneMatch="*"),
            )

    def replace(self, key: str, data: bytes, if_etag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if if_etag is None else {"IfMatch": if_etag}
        try:
            answer = self._put(key, data, hashlib.sha256(data).digest(), **condition)
        except (ObjectMissing, _ConditionFailed) as error:
            if isinstance(error, _ConditionFailed) and error.sent_before:
                stored, etag = self.read_with_etag(key)
                if stored == data:  # our own write arrived, its acknowledgement did not
                    return etag
            expected = f"etag {if_etag}" if if_etag else "nothing"
            raise ObjectChanged(
                f"{self.uri}/{key} was changed by somebody else; expected {expected}. Read it again."
            ) from error
        return str(answer["ETag"])

    def delete(self, key: str) -> None:
        self._call("delete_object", key)

    def download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving = path.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"

        def save(answer: Any) -> None:
            with arriving.open("wb") as file:
                for piece in answer["Body"].iter_chunks(2**20):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

        try:
            self._get(key, save)
            arriving.replace(path)
        finally:
            arriving.unlink(missing_ok=True)

    def local_path(self, key: str) -> None:
        return None

    def _create(self, key: str, sha256: str, put: Callable[[], object]) -> None:
        """Run a create-only write; where the key is taken, the bytes that lie there decide."""
        for attempt in range(TRIES):
            try:
                put()
                return
            except _StartAgain:  # AWS: after a 409, upload every part again
                self._wait(attempt)
            except _ConditionFailed as error:
                try:
                    stored = self._get(key, _sha256_of_body)
                except ObjectMissing:
                    continue  # deleted between the two calls
                if stored != sha256:
                    raise ObjectExists(
                        f"{self.uri}/{key} already holds other bytes. They were left as they are."
                    ) from error
                return
        raise UserError(
            f"{self.uri}/{key} could not be created in {TRIES} tries: other writers keep "
            "getting in the way. Nothing is half-written: run the same command again.",
            EX_TEMPFAIL,
        )

    def _put(self, key: str, data: bytes, digest: bytes, **condition: str) -> Any:
        return self._call(
            "put_object",
            key,
            Body=data,
            ChecksumSHA256=base64.b64encode(digest).decode(),
            **condition,
        )

    def _upload_in_parts(self, key: str, path: Path) -> None:
        """A large file; it becomes visible with the last call only. On failure the parts are taken back."""
        upload = self._call("create_multipart_upload", key, ChecksumAlgorithm="SHA256")[
            "UploadId"
        ]
        try:
            parts: list[dict[str, Any]] = []
            with path.open("rb") as file:
                while piece := file.read(MULTIPART_BYTES):
                    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
                    number = len(parts) + 1
                    answer = self._call(
                        "upload_part",
                        key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=piece,
                        ChecksumSHA256=checksum,
                    )
                    parts.append(
                        {
                            "ETag": answer["ETag"],
                            "PartNumber": number,
                            "ChecksumSHA256": checksum,
                        }
                    )
            self._call(
                "complete_multipart_upload",
                key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        except BaseException:
            with contextlib.suppress(UserError, _ConditionFailed):
                self._call("abort_multipart_upload", key, UploadId=upload)
            raise

    def _get(self, key: str, use: Callable[[Any], Result]) -> Result:
        """`use` the answer to one GET of the whole object; again from the start if the body breaks off."""
        for attempt in range(TRIES):
            answer = self._call("get_object", key)
            try:
                return use(answer)
            except BROKEN_READS as error:
                if attempt == TRIES - 1:
                    raise self._explained(error, "get_object", key) from error
                self._wait(attempt)
        raise AssertionError("unreachable")

    def _call(self, method: str, key: str, **arguments: Any) -> Any:
        """One S3 call with the answers sorted: missing, condition failed, try again, or something for the user.

        Raises:
            ObjectMissing, _ConditionFailed, UserError.
        """
        full_key = self.prefix + checked_key(key)
        for attempt in range(TRIES):
            try:
                return getattr(self.client, method)(
                    Bucket=self.bucket, Key=full_key, **arguments
                )
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in MISSING:
                    raise ObjectMissing(f"{self.uri}/{key}") from error
                # A completed upload no longer exists: its name is taken, perhaps by us.
                if code in ("PreconditionFailed", "NoSuchUpload"):
                    raise _ConditionFailed(sent_before=_retried(error)) from error
                if code in TRY_AGAIN and method == "complete_multipart_upload":
                    raise _StartAgain from error
                if code not in TRY_AGAIN or attempt == TRIES - 1:
                    raise self._explained(error, method, full_key) from error
                self._wait(attempt)
            except BotoCoreError as error:
                raise self._explained(error, method, full_key) from error
        raise AssertionError("unreachable")

    def _wait(self, attempt: int) -> None:
        # Full jitter would let two writers that met meet again less often, but may wait 0 s: half is kept fixed.
        self._sleep(0.1 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311

    def _explained(
        self, error: ClientError | BotoCoreError, method: str, full_key: str
    ) -> UserError:
        operation = self.client.meta.method_to_api_mapping[method]
        return explained(
            error, operation, self.bucket, full_key, self.client.meta.endpoint_url
        )


class _ConditionFailed(Exception):
    """S3 answered 412. `sent_before`: botocore had sent the request before, so the echo may be our own."""

    def __init__(self, sent_before: bool) -> None:
        super().__init__(sent_before)
        self.sent_before = sent_before


class _StartAgain(Exception):
    """S3 answered 409 to the last call of an upload in parts."""


def _retried(error: ClientError) -> bool:
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0))


def _sha256_of_body(answer: Any) -> str:
    digest = hashlib.sha256()
    for piece in answer["Body"].iter_chunks(2**20):
        digest.update(piece)
    return digest.hexdigest()
