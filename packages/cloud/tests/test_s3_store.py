"""What only S3 can do to us: lost acknowledgements, conflicts, refusals, broken bodies, uploads in parts."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
)
from moto.core.models import botocore_stubber

from packages.cloud.src import s3_store
from packages.cloud.src.exit_codes import (
    EX_CONFIG,
    EX_NOINPUT,
    EX_NOPERM,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    EX_USAGE,
    UserError,
)
from packages.cloud.src.object_store import ObjectChanged, ObjectExists, ObjectMissing
from packages.cloud.src.s3_store import S3Store
from packages.cloud.tests.conftest import BUCKET, unique_uri

PART = 5 * 2**20  # the smallest part S3 takes


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def store(faulty_client: Any, waits: list[float]) -> S3Store:
    return S3Store(unique_uri(), faulty_client, sleep=waits.append)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "MULTIPART_BYTES", PART)


def test_create_whose_acknowledgement_was_lost_succeeds(store: S3Store) -> None:
    statuses = lose_acknowledgement(store.client, "PutObject")
    store.create("a", b"one")
    assert statuses == [200, 412]  # botocore sent it twice; the second met the first
    assert store.read("a") == b"one"


def test_replace_whose_acknowledgement_was_lost_succeeds(store: S3Store) -> None:
    etag = store.replace("a", b"one", None)
    statuses = lose_acknowledgement(store.client, "PutObject")
    etag = store.replace("a", b"two", etag)
    assert statuses == [200, 412]
    assert store.read_with_etag("a") == (b"two", etag)


def test_first_replace_whose_acknowledgement_was_lost_succeeds(store: S3Store) -> None:
    lose_acknowledgement(store.client, "PutObject")
    etag = store.replace("a", b"one", None)
    assert store.read_with_etag("a") == (b"one", etag)


def test_a_lost_acknowledgement_does_not_hide_another_writer(
    store: S3Store, shared_client: Any
) -> None:
    other = S3Store(store.uri, shared_client)
    other.create("a", b"other")
    lose_acknowledgement(store.client, "PutObject")
    with pytest.raises(ObjectExists):
        store.create("a", b"ours")
    with pytest.raises(ObjectChanged):
        store.replace("b", b"ours", '"00000000000000000000000000000000"')


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
@pytest.mark.parametrize("write", ["create", "replace"])
def test_a_conflict_is_tried_again(
    store: S3Store, waits: list[float], write: str, code: str
) -> None:
    answer(store.client, "PutObject", [(409, code)] * 3)
    if write == "create":
        store.create("a", b"one")
    else:
        store.replace("a", b"one", None)
    assert store.read("a") == b"one"
    # 0.1 s doubling, each between half and all of it.
    assert len(waits) == 3
    assert 0.05 <= waits[0] <= 0.1 <= waits[1] <= 0.2 <= waits[2] <= 0.4


def test_conflicts_without_end_are_given_up(store: S3Store, waits: list[float]) -> None:
    answer(store.client, "PutObject", [(409, "ConditionalRequestConflict")] * 99)
    with pytest.raises(UserError, match="run the same command again") as refusal:
        store.create("a", b"one")
    assert refusal.value.exit_code == EX_TEMPFAIL
    assert len(waits) == s3_store.TRIES - 1
    assert sum(waits) <= 12.7


def test_a_body_damaged_on_its_way_is_sent_again(store: S3Store) -> None:
    # moto takes any checksum; this answers as AWS does (RELIABILITY: moto table).
    damaged = [True]

    def compare_checksum(request: Any) -> AWSResponse | None:
        body = b"damaged" if damaged.pop() else request.body.getvalue()
        damaged.append(False)
        sent = request.headers["x-amz-checksum-sha256"]
        sent = sent.decode() if isinstance(sent, bytes) else sent
        if base64.b64encode(hashlib.sha256(body).digest()).decode() != sent:
            return error_response(400, "BadDigest")
        return None

    before_moto(store.client, "PutObject", compare_checksum)
    store.create("a", b"one")
    assert store.read("a") == b"one"


@pytest.mark.parametrize(
    ("method", "call", "permission", "resource"),
    [
        ("GetObject", lambda s: s.read("k"), "s3:GetObject", "/k"),
        ("HeadObject", lambda s: s.stat("k"), "s3:GetObject", "/k"),
        ("PutObject", lambda s: s.create("k", b""), "s3:PutObject", "/k"),
        ("PutObject", lambda s: s.replace("k", b"", None), "s3:PutObject", "/k"),
        ("DeleteObject", lambda s: s.delete("k"), "s3:DeleteObject", "/k"),
        ("ListObjectsV2", lambda s: list(s.list("")), "s3:ListBucket", ""),
    ],
    ids=["read", "stat", "create", "replace", "delete", "list"],
)
def test_a_denial_names_the_permission_and_the_resource(
    store: S3Store,
    method: str,
    call: Callable[[S3Store], object],
    permission: str,
    resource: str,
) -> None:
    answer(store.client, method, [(403, "AccessDenied")])
    with pytest.raises(UserError) as refusal:
        call(store)
    arn = f"arn:aws:s3:::{BUCKET}"
    if resource:
        arn += "/" + store.prefix + "k"
    assert f"refused {permission} on {arn} (" in refusal.value.message
    assert refusal.value.exit_code == EX_NOPERM


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "advice"),
    [
        (400, "ExpiredToken", EX_NOPERM, "aws sso login"),
        (403, "InvalidAccessKeyId", EX_NOPERM, "aws sso login"),
        (403, "SignatureDoesNotMatch", EX_NOPERM, "aws sso login"),
        (403, "RequestTimeTooSkewed", EX_CONFIG, "clock"),
        (301, "PermanentRedirect", EX_CONFIG, "AWS_REGION"),
        (404, "NoSuchBucket", EX_NOINPUT, "does not exist"),
        (503, "SlowDown", EX_TEMPFAIL, "again"),
        (500, "InternalError", EX_TEMPFAIL, "again"),
        (501, "NotImplemented", EX_UNAVAILABLE, "NotImplemented"),
    ],
)
@pytest.mark.parametrize("call", ["read", "create"])
def test_every_refusal_says_what_to_do(
    store: S3Store, call: str, status: int, code: str, exit_code: int, advice: str
) -> None:
    method = "GetObject" if call == "read" else "PutObject"
    answer(store.client, method, [(status, code)] * 99)
    with pytest.raises(UserError, match=advice) as refusal:
        store.read("k") if call == "read" else store.create("k", b"one")
    assert refusal.value.exit_code == exit_code


@pytest.mark.parametrize("call", ["read", "create"])
@pytest.mark.parametrize("failures", [1, 4])
def test_short_outages_are_not_noticed(
    store: S3Store, call: str, failures: int
) -> None:
    store.create("there", b"one")
    method = "GetObject" if call == "read" else "PutObject"
    answer(store.client, method, [(503, "SlowDown")] * failures)
    if call == "read":
        assert store.read("there") == b"one"
    else:
        store.create("new", b"two")
        assert store.read("new") == b"two"


def test_no_answer_at_all_names_the_endpoint(store: S3Store) -> None:
    def refuse(request: Any, **_: object) -> None:
        raise EndpointConnectionError(endpoint_url=request.url)

    store.client.meta.events.register_first("before-send.s3", refuse)
    with pytest.raises(UserError, match="https://s3.amazonaws.com") as refusal:
        store.read("k")
    assert refusal.value.exit_code == EX_UNAVAILABLE


def test_a_bucket_that_does_not_exist_is_named(shared_client: Any) -> None:
    nowhere = S3Store("s3://no-such-bucket-here/x", shared_client)
    for call in (
        lambda: nowhere.read("k"),
        lambda: nowhere.create("k", b""),
        lambda: nowhere.replace("k", b"", '"etag"'),
        lambda: list(nowhere.list("")),
    ):
        with pytest.raises(UserError, match="no-such-bucket-here") as refusal:
            call()
        assert refusal.value.exit_code == EX_NOINPUT


def test_a_name_no_bucket_can_have_is_a_usage_error(shared_client: Any) -> None:
    with pytest.raises(UserError, match="Use ") as refusal:
        S3Store("s3://No_Bucket!/x", shared_client).read("k")
    assert refusal.value.exit_code == EX_USAGE


def test_missing_credentials_are_explained(
    mocked_s3: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="AWS_PROFILE") as refusal:
        S3Store(f"s3://{BUCKET}").read("k")
    assert refusal.value.exit_code == EX_NOPERM
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="nobody") as refusal:
        S3Store(f"s3://{BUCKET}").read("k")
    assert refusal.value.exit_code == EX_CONFIG


def test_the_client_is_made_on_first_use(mocked_s3: None) -> None:
    store = S3Store(unique_uri())
    store.create("a", b"one")
    assert store.client.meta.config.retries == {
        "mode": "standard",
        "total_max_attempts": 5,
    }
    assert store.read("a") == b"one"


@pytest.mark.parametrize("how", ["read", "download", "compare"])
def test_a_body_that_breaks_off_is_read_again(
    store: S3Store, tmp_path: Path, how: str
) -> None:
    store.create("a", b"0123456789")
    broken = break_bodies(store.client, times=2)
    if how == "read":
        assert store.read("a") == b"0123456789"
    elif how == "download":
        store.download("a", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"0123456789"
    else:
        store.create("a", b"0123456789")
    assert broken == [0]


def test_a_body_that_always_breaks_off_leaves_no_file(
    store: S3Store, tmp_path: Path
) -> None:
    store.create("a", b"0123456789")
    break_bodies(store.client, times=99)
    with pytest.raises(UserError) as refusal:
        store.download("a", tmp_path / "copy")
    assert refusal.value.exit_code == EX_UNAVAILABLE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_up_in_parts(store: S3Store, tmp_path: Path) -> None:
    data = os.urandom(2 * PART + 1)
    (tmp_path / "large").write_bytes(data)
    calls = record_calls(store.client)
    store.create_from_file("large", tmp_path / "large")
    assert calls == [
        "CreateMultipartUpload",
        *["UploadPart"] * 3,
        "CompleteMultipartUpload",
    ]
    store.create_from_file("large", tmp_path / "large")
    assert store.read("large") == data
    (tmp_path / "large").write_bytes(data[:-1] + b"?")
    with pytest.raises(ObjectExists):
        store.create_from_file("large", tmp_path / "large")
    assert store.read("large") == data
    assert open_uploads(store) == []


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_upload_that_fails_is_taken_back(
    store: S3Store, tmp_path: Path, number: int
) -> None:
    (tmp_path / "large").write_bytes(bytes(2 * PART + 1))
    answer(
        store.client,
        "UploadPart",
        [*[None] * (number - 1), *[(403, "AccessDenied")] * 9],
    )
    with pytest.raises(UserError, match="s3:PutObject"):
        store.create_from_file("large", tmp_path / "large")
    assert not store.exists("large")
    assert open_uploads(store) == []


@pytest.mark.usefixtures("small_parts")
def test_a_conflict_at_the_end_uploads_every_part_again(
    store: S3Store, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(PART + 1))
    answer(
        store.client, "CompleteMultipartUpload", [(409, "ConditionalRequestConflict")]
    )
    calls = record_calls(store.client)
    store.create_from_file("large", tmp_path / "large")
    assert calls.count("UploadPart") == 4
    assert store.stat("large").size_bytes == PART + 1
    assert open_uploads(store) == []


@pytest.mark.usefixtures("small_parts")
def test_an_upload_whose_last_acknowledgement_was_lost_succeeds(
    store: S3Store, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(PART + 1))
    lose_acknowledgement(store.client, "CompleteMultipartUpload")
    store.create_from_file("large", tmp_path / "large")
    assert store.stat("large").size_bytes == PART + 1


def test_a_listing_of_more_than_one_page_is_whole(store: S3Store) -> None:
    for number in range(7):
        store.create(f"a/{number}", b"")

    def small_pages(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 3

    store.client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", small_pages
    )
    assert [row.key for row in store.list("a/")] == [f"a/{n}" for n in range(7)]


def test_an_object_that_keeps_vanishing_is_given_up(store: S3Store) -> None:
    answer(store.client, "PutObject", [(412, "PreconditionFailed")] * 99)
    with pytest.raises(UserError, match="other writers") as refusal:
        store.create("a", b"one")
    assert refusal.value.exit_code == EX_TEMPFAIL
    with pytest.raises(ObjectMissing):
        store.read("a")


def answer(client: Any, method: str, responses: list[tuple[int, str] | None]) -> None:
    """Answer the next calls of a method with these errors; None lets one through to moto."""
    waiting = iter(responses)

    def respond(_: Any) -> AWSResponse | None:
        status_and_code = next(waiting, None)
        return error_response(*status_and_code) if status_and_code else None

    before_moto(client, method, respond)


def before_moto(
    client: Any, method: str, respond: Callable[[Any], AWSResponse | None]
) -> None:
    """Ask `respond` before moto. Without this moto would run too, and store what was answered with an error."""
    client.meta.events.unregister("before-send", botocore_stubber)

    def guard(event_name: str, request: Any, **_: object) -> AWSResponse | None:
        response = respond(request) if event_name.endswith(f".{method}") else None
        return response or botocore_stubber(event_name, request)

    client.meta.events.register("before-send.s3", guard)


def error_response(status: int, code: str) -> AWSResponse:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    return AWSResponse("https://s3", status, {}, Body(body))


class Body:
    """The least of urllib3's response that botocore reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.data


def lose_acknowledgement(client: Any, method: str) -> list[int]:
    """The first answer of a method arrives at S3 but not back: botocore sends it again. Returns the statuses."""
    statuses: list[int] = []

    def lose(response: Any, **_: object) -> int | None:
        if response is not None and not isinstance(response, ConnectionClosedError):
            statuses.append(response[0].status_code)
            return 0 if len(statuses) == 1 else None
        return None

    client.meta.events.register_first(f"needs-retry.s3.{method}", lose)
    return statuses


def break_bodies(client: Any, times: int) -> list[int]:
    """The next bodies of GetObject end early. Returns a list with the number still to break."""
    left = [times]

    def shorten(parsed: dict[str, Any], **_: object) -> None:
        if left[0] and "Body" in parsed:
            left[0] -= 1
            parsed["Body"] = BrokenBody()

    client.meta.events.register_last("after-call.s3.GetObject", shorten)
    return left


class BrokenBody:
    """A body that sends 3 of 10 bytes."""

    def read(self) -> bytes:
        raise IncompleteReadError(actual_bytes=3, expected_bytes=10)

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield b"012"
        raise IncompleteReadError(actual_bytes=3, expected_bytes=10)


def record_calls(client: Any) -> list[str]:
    calls: list[str] = []
    client.meta.events.register_first(
        "before-call.s3", lambda model, **_: calls.append(model.name)
    )
    return calls


def open_uploads(store: S3Store) -> list[Any]:
    answer_of_s3 = boto3.client("s3").list_multipart_uploads(
        Bucket=BUCKET, Prefix=store.prefix
    )
    return list(answer_of_s3.get("Uploads", []))
