import io

import boto3
import pytest
from botocore.response import StreamingBody
from moto import mock_aws

from packages.chat_data.src import s3_source
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData
from packages.chat_data.src.read_documents import read_documents
from packages.chat_data.src.s3_source import pin_s3, s3_chunks
from packages.chat_data.src.sources import pin_source
from packages.cloud.src.exit_codes import (
    EX_NOINPUT,
    EX_NOPERM,
    EX_UNAVAILABLE,
    UserError,
)

BUCKET = "input"


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


def put(client, **objects):
    for key, data in objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=data)


def test_three_objects_are_pinned_and_read(s3):
    put(
        s3,
        **{
            "in/b.txt": b"two",
            "in/a.txt": b"one",
            "in/c.txt": b"three",
            "other/x.txt": b"no",
        },
    )
    source = pin_source(f"s3://{BUCKET}/in/")
    assert [(one.key, one.size_bytes) for one in source.objects] == [
        ("a.txt", 3),
        ("b.txt", 3),
        ("c.txt", 5),
    ]
    assert all(one.etag for one in source.objects)
    assert [document.text for document in read_documents(source)] == [
        "one",
        "two",
        "three",
    ]


def test_the_data_hash_is_that_of_the_same_local_folder(s3, tmp_path):
    put(s3, **{"in/a.txt": b"one"})
    (tmp_path / "a.txt").write_bytes(b"one")
    assert (
        pin_source(f"s3://{BUCKET}/in/").data_sha256
        == pin_source(str(tmp_path)).data_sha256
    )


def test_one_whole_key_is_one_object(s3):
    put(s3, **{"in/a.txt": b"one", "in/a.txt.gz": b"x"})
    assert [
        one.key for one in pin_s3(f"s3://{BUCKET}/in/a.txt", ReadLimits()).objects
    ] == ["a.txt"]


def test_s01_an_empty_object_is_an_empty_file(s3):
    put(s3, **{"a.txt": b""})
    with pytest.raises(BadData, match="FT-D001 s3://input/a.txt"):
        list(read_documents(pin_source(f"s3://{BUCKET}")))


def test_s02_folder_markers_are_ignored(s3):
    put(s3, **{"in/": b"", "in/x/": b"", "in/x/a.txt": b"one"})
    assert [one.key for one in pin_source(f"s3://{BUCKET}/in/").objects] == ["x/a.txt"]


@pytest.mark.parametrize(
    "key", ["a#b.txt", "a?b.txt", "a%2Fb.txt", "a+b.txt", "a b.txt", "\U0001f600.txt"]
)
def test_s03_any_key_works(s3, key):
    put(s3, **{f"in/{key}": b"one"})
    for uri in (f"s3://{BUCKET}/in/", f"s3://{BUCKET}/in/{key}"):
        source = pin_source(uri)
        assert [one.key for one in source.objects] == [key]
        assert [document.text for document in read_documents(source)] == ["one"]


def test_s04_a_replaced_object_is_never_mixed_in(s3):
    put(s3, **{"a.txt": b"one"})
    source = pin_source(f"s3://{BUCKET}")
    put(s3, **{"a.txt": b"two"})
    with pytest.raises(BadData, match="FT-D080"):
        list(read_documents(source))


def test_s05_a_deleted_object_is_named(s3):
    put(s3, **{"a.txt": b"one"})
    source = pin_source(f"s3://{BUCKET}")
    s3.delete_object(Bucket=BUCKET, Key="a.txt")
    with pytest.raises(BadData, match="FT-D081 s3://input/a.txt"):
        list(read_documents(source))


def test_s06_a_body_that_breaks_off_is_continued(s3):
    put(s3, **{"a.txt": b"0123456789"})
    source = pin_source(f"s3://{BUCKET}")
    short = _Shortened(s3, keep=4)
    # Three bodies of at most four bytes: 0123, 4567, 89.
    assert b"".join(s3_chunks(source, source.objects[0], short)) == b"0123456789"
    assert short.ranges == ["bytes=0-9", "bytes=4-9", "bytes=8-9"]


def test_s06_a_body_that_never_comes_is_an_outage(s3):
    put(s3, **{"a.txt": b"0123456789"})
    source = pin_source(f"s3://{BUCKET}")
    with pytest.raises(UserError) as caught:
        list(s3_chunks(source, source.objects[0], _Shortened(s3, keep=0)))
    assert caught.value.exit_code == EX_UNAVAILABLE


@pytest.mark.parametrize(
    ("operation", "permission"),
    [("ListObjectsV2", "s3:ListBucket"), ("GetObject", "s3:GetObject")],
)
def test_s07_s08_a_refusal_names_the_missing_permission(s3, operation, permission):
    put(s3, **{"a.txt": b"one"})
    s3.meta.events.register(f"before-call.s3.{operation}", _answer(403, "AccessDenied"))
    with pytest.raises(
        UserError, match=f"{permission} on arn:aws:s3:::{BUCKET}"
    ) as caught:
        pin_s3(f"s3://{BUCKET}", ReadLimits(), s3)
    assert caught.value.exit_code == EX_NOPERM


def test_s10_a_missing_bucket_is_named(s3):
    with pytest.raises(
        UserError, match="bucket no-such-bucket does not exist"
    ) as caught:
        pin_source("s3://no-such-bucket/in")
    assert caught.value.exit_code == EX_NOINPUT


def test_s12_an_archived_object_is_named_before_it_is_read(s3):
    s3.put_object(Bucket=BUCKET, Key="a.txt", Body=b"one", StorageClass="GLACIER")
    with pytest.raises(BadData, match="FT-D083"):
        pin_source(f"s3://{BUCKET}")


def test_s13_expired_credentials_say_how_to_sign_in(s3):
    s3.meta.events.register(
        "before-call.s3.ListObjectsV2", _answer(400, "ExpiredToken")
    )
    with pytest.raises(UserError, match="aws sso login") as caught:
        pin_s3(f"s3://{BUCKET}", ReadLimits(), s3)
    assert caught.value.exit_code == EX_NOPERM


def test_s15_listing_goes_on_behind_a_page_and_has_a_limit(s3, monkeypatch):
    monkeypatch.setattr(s3_source, "PAGE_KEYS", 2)
    put(s3, **{f"{number}.txt": b"x" for number in range(5)})
    assert len(pin_source(f"s3://{BUCKET}").objects) == 5
    with pytest.raises(UserError, match="more than 4 objects"):
        pin_source(f"s3://{BUCKET}", ReadLimits(objects=4))


def test_nothing_under_the_prefix(s3):
    with pytest.raises(UserError) as caught:
        pin_source(f"s3://{BUCKET}/in/")
    assert caught.value.exit_code == EX_NOINPUT


def _answer(status, code):
    body = f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()

    def respond(**_):
        from botocore.awsrequest import AWSResponse

        class Raw(io.BytesIO):
            def stream(self, **_):
                yield self.read()

        response = AWSResponse("https://s3", status, {}, Raw(body))
        return response, {
            "Error": {"Code": code, "Message": "refused"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }

    return respond


class _Shortened:
    """An S3 client whose bodies end after `keep` bytes, as a reset connection does."""

    def __init__(self, client, keep):
        self.meta, self._client, self._keep, self.ranges = client.meta, client, keep, []

    def get_object(self, **request):
        self.ranges.append(request["Range"])
        answer = self._client.get_object(**request)
        data = answer["Body"].read()[: self._keep]
        return {**answer, "Body": StreamingBody(io.BytesIO(data), None)}
