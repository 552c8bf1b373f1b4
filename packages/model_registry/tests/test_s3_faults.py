"""Each request of a registration and of a fetch meets each fault of the network or of S3."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
)
from moto.core.models import botocore_stubber

from packages.cloud.src.exit_codes import (
    EX_CONFIG,
    EX_NOINPUT,
    EX_NOPERM,
    UserError,
)
from packages.cloud.src.s3_store import S3Store
from packages.model_registry.src.aliases import history, promote
from packages.model_registry.src.read import fetch
from packages.model_registry.src.register import register
from packages.model_registry.tests.adapters import MODEL, adapter_files, meta
from packages.model_registry.tests.conftest import new_client, unique_uri

REQUESTS_TO_REGISTER = 7  # 2 blobs, manifest, 2 copies, 2 looks at the blobs
REQUESTS_TO_FETCH = 4  # manifest, yank record (missing), 2 blobs
REQUESTS_TO_PROMOTE = 4  # manifest, yank record, alias, write

Answer = Callable[[Any], AWSResponse | None]


def refuse_connection(request: Any) -> None:
    raise EndpointConnectionError(endpoint_url=request.url)


def lose_acknowledgement(request: Any) -> None:
    botocore_stubber("before-send", request)
    raise ConnectionClosedError(endpoint_url=request.url)


def reset_before_arrival(request: Any) -> None:
    raise ConnectionClosedError(endpoint_url=request.url)


def status(number: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    return lambda _: AWSResponse("https://s3", number, {}, Body(body))


class Body:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.data


# What one retry cures must not be noticed.
PASSING = {
    "connection refused": refuse_connection,
    "lost acknowledgement": lose_acknowledgement,
    "connection reset": reset_before_arrival,
    "500": status(500, "InternalError"),
    "503": status(503, "SlowDown"),
    "409": status(409, "ConditionalRequestConflict"),
    "bad digest": status(400, "BadDigest"),
}
# What only a person can cure must be explained, and must leave the registry whole.
LASTING = {
    "403": (status(403, "AccessDenied"), EX_NOPERM),
    "no bucket": (status(404, "NoSuchBucket"), EX_NOINPUT),
    "wrong clock": (status(403, "RequestTimeTooSkewed"), EX_CONFIG),
    "expired": (status(400, "ExpiredToken"), EX_NOPERM),
}


class Fault:
    """The n-th request that a client sends meets the fault; the others reach moto."""

    def __init__(self, answer: Answer, number: int) -> None:
        self.answer = answer
        self.left = number
        self.met = False

    def __call__(self, request: Any, **_: object) -> AWSResponse | None:
        self.left -= 1
        if self.left == 0:
            self.met = True
            return self.answer(request)
        return botocore_stubber("before-send", request)


class FaultyS3:
    """Stores whose requests meet one fault each. One client for all: making one takes longest."""

    def __init__(self) -> None:
        self.client = new_client()
        self.client.meta.events.unregister("before-send", botocore_stubber)
        self.fault = Fault(lambda _: None, 0)
        self.client.meta.events.register(
            "before-send.s3", lambda request, **_: self.fault(request)
        )

    def store(self, uri: str, answer: Answer, number: int) -> S3Store:
        self.fault = Fault(answer, number)
        return S3Store(uri, self.client, sleep=lambda _: None)


@pytest.fixture(scope="module")
def faulty(s3_client: Any) -> Iterator[FaultyS3]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
        yield FaultyS3()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return adapter_files(tmp_path_factory.mktemp("adapter"))


@pytest.mark.parametrize("number", range(1, REQUESTS_TO_REGISTER + 1))
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_while_registering_is_not_noticed(
    faulty: FaultyS3,
    s3_client: Any,
    files: dict[str, Path],
    fault: str,
    number: int,
) -> None:
    uri = unique_uri()
    store = faulty.store(uri, PASSING[fault], number)
    assert register(store, MODEL, files, meta(), "v1.0").version == "v1.0"
    assert faulty.fault.met
    sound = S3Store(uri, s3_client)
    # Two files: two blobs, two copies, one manifest, all of them right.
    assert len(list(sound.list(""))) == 5
    assert sound.exists(f"{MODEL}/v1.0/manifest.json")


@pytest.mark.parametrize("number", range(1, REQUESTS_TO_REGISTER + 1))
@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_while_registering_is_explained_and_retried(
    faulty: FaultyS3,
    s3_client: Any,
    files: dict[str, Path],
    fault: str,
    number: int,
) -> None:
    uri = unique_uri()
    answer, exit_code = LASTING[fault]
    store = faulty.store(uri, answer, number)
    with pytest.raises(UserError) as refusal:
        register(store, MODEL, files, meta(), "v1.0")
    assert refusal.value.exit_code == exit_code
    sound = S3Store(uri, s3_client)
    assert sound.exists(f"{MODEL}/v1.0/manifest.json") is (number > 3)
    copies = list(sound.list(f"{MODEL}/v1.0/adapter_"))
    assert len(copies) == max(0, min(2, number - 4))
    register(sound, MODEL, files, meta(), "v1.0")
    assert len(list(sound.list(""))) == 5


@pytest.mark.parametrize("number", range(1, REQUESTS_TO_PROMOTE + 1))
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_while_promoting_moves_the_alias_once(
    faulty: FaultyS3, registered_uri: str, s3_client: Any, fault: str, number: int
) -> None:
    alias = f"{fault}-{number}".replace(" ", "-")
    store = faulty.store(registered_uri, PASSING[fault], number)
    assert promote(store, MODEL, "v1.0", alias).generation == 1
    assert faulty.fault.met
    moves = history(S3Store(registered_uri, s3_client), MODEL, alias)
    assert [move.version for move in moves] == ["v1.0"]


@pytest.fixture(scope="module")
def registered_uri(s3_client: Any, files: dict[str, Path]) -> str:
    uri = unique_uri()
    register(S3Store(uri, s3_client), MODEL, files, meta())
    return uri


@pytest.mark.parametrize("number", range(1, REQUESTS_TO_FETCH + 1))
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_while_fetching_is_not_noticed(
    faulty: FaultyS3, registered_uri: str, tmp_path: Path, fault: str, number: int
) -> None:
    store = faulty.store(registered_uri, PASSING[fault], number)
    assert fetch(store, MODEL, "v1.0", tmp_path).is_dir()
    assert faulty.fault.met


@pytest.mark.parametrize("number", range(1, REQUESTS_TO_FETCH + 1))
@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_while_fetching_leaves_no_folder(
    faulty: FaultyS3, registered_uri: str, tmp_path: Path, fault: str, number: int
) -> None:
    answer, exit_code = LASTING[fault]
    with pytest.raises(UserError) as refusal:
        store = faulty.store(registered_uri, answer, number)
        fetch(store, MODEL, "v1.0", tmp_path)
    assert refusal.value.exit_code == exit_code
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_body_that_breaks_off_is_fetched_again(
    registered_uri: str, s3_client: Any, tmp_path: Path, number: int
) -> None:
    bodies = [0]

    def break_off(parsed: dict[str, Any], **_: object) -> None:
        bodies[0] += "Body" in parsed
        if bodies[0] == number and "Body" in parsed:
            parsed["Body"] = BrokenBody()

    client = new_client()
    client.meta.events.register_last("after-call.s3.GetObject", break_off)
    store = S3Store(registered_uri, client, sleep=lambda _: None)
    assert fetch(store, MODEL, "v1.0", tmp_path).is_dir()
    assert bodies[0] == 4  # manifest, two blobs, and one of them again


class BrokenBody:
    def read(self) -> bytes:
        raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield b"x"
        raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
