"""Objects below an s3:// prefix as a source: listed page by page, read only in the version that was pinned."""

import hashlib
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from packages.chat_data.src.byte_chunks import CHUNK_BYTES
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.pins import PinnedObject, PinnedSource, choose_keys
from packages.chat_data.src.problems import BadData, Problem, shown
from packages.cloud.src.exit_codes import (
    EX_NOINPUT,
    EX_UNAVAILABLE,
    EX_USAGE,
    UserError,
)
from packages.cloud.src.s3_errors import explained

TRIES = 3
PAGE_KEYS = 1_000  # the most that S3 gives
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")


def pin_s3(uri: str, limits: ReadLimits, client: Any = None) -> PinnedSource:
    """Every readable object below the prefix with size, ETag and the SHA-256 of its bytes.

    Raises:
        UserError: no bucket (66), nothing there (66), a permission is missing (77, names it), S3 down (69).
        BadData: FT-D072 an object over the limits, FT-D080 it changed meanwhile, FT-D083 it is archived.
    """
    bucket, prefix = _address(uri)
    client = client or _client()
    listed = _listed(client, bucket, prefix, limits)
    if "" in listed:
        # The address is one whole key: its last part names the object, neighbours with a longer name are not meant.
        prefix, _, name = prefix.rpartition("/")
        prefix, listed = f"{prefix}/" if prefix else "", {name: listed[""]}
    chosen, note = choose_keys(list(listed))
    if not chosen:
        raise UserError(
            f"{uri} holds no object that can be read as text among {len(listed)}. Correct the prefix, or upload "
            "*.txt, *.md, *.jsonl, *.csv or *.parquet objects.",
            EX_NOINPUT,
        )
    pinned = []
    for key in chosen:
        size, etag, storage = listed[key]
        place = f"s3://{bucket}/{prefix}{key}"
        if storage in _ARCHIVED:
            raise BadData(
                [
                    Problem(
                        "FT-D083",
                        place,
                        0,
                        0,
                        f"archived in {storage}",
                        "restore the object first",
                    )
                ]
            )
        if size > limits.file_bytes:
            message = f"the object has {size:,} bytes, more than {limits.file_bytes:,}"
            raise BadData([Problem("FT-D072", place, 0, 0, message, "split it")])
        digest = hashlib.sha256()
        for chunk in _ranged(client, bucket, prefix + key, etag, size):
            digest.update(chunk)
        pinned.append(PinnedObject(key, size, digest.hexdigest(), etag))
    return PinnedSource(
        uri, "s3", "", tuple(pinned), note, root=f"s3://{bucket}/{prefix}"
    )


def s3_chunks(
    source: PinnedSource, pinned: PinnedObject, client: Any = None
) -> Iterator[bytes]:
    """The bytes of one pinned object, in pieces, all of the pinned version.

    Raises:
        BadData: FT-D080 the object was replaced, FT-D081 it was deleted.
        UserError: as `pin_s3`.
    """
    bucket, prefix = _address(source.root)
    return _ranged(
        client or _client(), bucket, prefix + pinned.key, pinned.etag, pinned.size_bytes
    )


def _ranged(
    client: Any, bucket: str, key: str, etag: str, size: int
) -> Iterator[bytes]:
    position, failures = 0, 0
    while position < size:
        try:
            answer = client.get_object(
                Bucket=bucket,
                Key=key,
                IfMatch=etag,
                Range=f"bytes={position}-{size - 1}",
            )
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                position += len(chunk)
                yield chunk
        except ClientError as error:
            raise _refused(error, client, bucket, key) from error
        except BotoCoreError as error:
            # A body that breaks off: go on at the next byte, still of the same version.
            failures += 1
            if failures == TRIES:
                raise explained(
                    error, "GetObject", bucket, key, client.meta.endpoint_url
                ) from error
            continue
        if position < size:
            failures += 1
            if failures == TRIES:
                place = f"s3://{bucket}/{key}"
                raise UserError(
                    f"{place} broke off {TRIES} times at byte {position:,}. Try again.",
                    EX_UNAVAILABLE,
                )


def _refused(error: ClientError, client: Any, bucket: str, key: str) -> UserError:
    code = error.response["Error"]["Code"]
    place = f"s3://{bucket}/{key}"
    if code in ("PreconditionFailed", "412", "InvalidRange"):
        message = "the object was replaced since the run pinned it"
        return BadData(
            [
                Problem(
                    "FT-D080", place, 0, 0, message, "start a new run on the new object"
                )
            ]
        )
    if code in ("NoSuchKey", "404"):
        message = "the object was deleted since the run pinned it"
        return BadData(
            [Problem("FT-D081", place, 0, 0, message, "restore it, or start a new run")]
        )
    if code == "InvalidObjectState":
        return BadData(
            [
                Problem(
                    "FT-D083",
                    place,
                    0,
                    0,
                    "the object is archived",
                    "restore the object first",
                )
            ]
        )
    return explained(error, "GetObject", bucket, key, client.meta.endpoint_url)


def _listed(
    client: Any, bucket: str, prefix: str, limits: ReadLimits
) -> dict[str, tuple[int, str, str]]:
    found: dict[str, tuple[int, str, str]] = {}
    try:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE_KEYS}
        )
        for page in pages:
            for item in page.get("Contents", ()):
                # A key that ends with "/" is a folder that some console made: it holds nothing.
                if not item["Key"].endswith("/"):
                    storage = item.get("StorageClass", "STANDARD")
                    found[item["Key"][len(prefix) :]] = (
                        item["Size"],
                        item["ETag"],
                        storage,
                    )
            if len(found) > limits.objects:
                raise UserError(
                    f"s3://{bucket}/{prefix} holds more than {limits.objects:,} objects.",
                    EX_NOINPUT,
                )
    except (ClientError, BotoCoreError) as error:
        raise explained(
            error, "ListObjectsV2", bucket, "", client.meta.endpoint_url
        ) from error
    return found


def _address(uri: str) -> tuple[str, str]:
    # Not urlsplit: "#" and "?" are ordinary letters of a key.
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(
            f"{shown(uri)} names no bucket. Write s3://bucket/prefix.", EX_USAGE
        )
    return bucket, prefix


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", config=Config(retries={"mode": "standard", "max_attempts": TRIES})
    )
