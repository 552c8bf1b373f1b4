import huggingface_hub
import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src.hub_model import hub_commit

COMMIT = "060db6499f32faf8b98477b0a26969ef7d8b9987"


class FakeHub:
    """What HfApi does for one model: gives its commit, or raises."""

    error: Exception | None = None

    def model_info(self, name: str, *, revision: str | None, timeout: float):
        if self.error is not None:
            raise self.error
        return huggingface_hub.ModelInfo(id=name, sha=revision or COMMIT)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    yield FakeHub
    FakeHub.error = None


def _http_error(kind):
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error.\nmore")
    return error


def test_the_newest_commit_is_pinned(hub):
    assert hub_commit("Qwen/Qwen2.5-0.5B", None) == COMMIT


@pytest.mark.parametrize(
    ("error", "code", "match"),
    [
        (_http_error(RepositoryNotFoundError), 78, "Did you mean Qwen/Qwen2.5-0.5B or"),
        (_http_error(RevisionNotFoundError), 78, "no revision"),
        (OfflineModeIsEnabled("x"), 69, "HF_HUB_OFFLINE is set"),
        (_http_error(HfHubHTTPError), 69, "404 Client Error. Check the network"),
    ],
    ids=["unknown", "revision", "offline", "http"],
)
def test_what_the_hub_refuses_is_said(hub, error, code, match):
    hub.error = error
    with pytest.raises(UserError, match=match) as caught:
        hub_commit("qwen/Qwen2.5-0.5b", None)
    assert caught.value.exit_code == code


def test_no_network_says_what_to_do(hub):
    # The transport error of the hub's own client; it has no base class that the hub exports.
    hub.error = type("ConnectError", (Exception,), {"__module__": "httpx2"})("no route")
    with pytest.raises(UserError, match="no route. Check the network") as caught:
        hub_commit("Qwen/Qwen2.5-0.5B", None)
    assert caught.value.exit_code == 69


def test_a_commit_in_the_cache_needs_no_network(hub, monkeypatch):
    hub.error = OfflineModeIsEnabled("x")
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *a, **k: "/cache/config.json"
    )
    assert hub_commit("Qwen/Qwen2.5-0.5B", COMMIT) == COMMIT


def test_an_error_of_our_own_is_not_taken_for_the_network(hub):
    hub.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        hub_commit("Qwen/Qwen2.5-0.5B", None)
