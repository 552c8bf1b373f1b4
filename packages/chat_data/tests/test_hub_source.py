from types import SimpleNamespace

import pytest
from huggingface_hub import errors

from packages.chat_data.src import hub_source
from packages.chat_data.src.hub_source import pin_hub
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.read_documents import read_documents
from packages.cloud.src.exit_codes import (
    EX_NOINPUT,
    EX_NOPERM,
    EX_UNAVAILABLE,
    EX_USAGE,
    UserError,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """The one call of `HfApi` that pinning makes."""

    def __init__(self, files=None, error=None):
        self._files, self._error, self.revisions = files or {}, error, []

    def dataset_info(self, name, *, revision, files_metadata, timeout):
        self.revisions.append(revision)
        if self._error:
            raise self._error
        siblings = [
            SimpleNamespace(
                rfilename=key,
                size=size,
                blob_id="b10b",
                lfs=lfs and SimpleNamespace(sha256=lfs),
            )
            for key, (size, lfs) in self._files.items()
        ]
        return SimpleNamespace(sha=COMMIT, siblings=siblings)


def http_error(kind, status):
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind(f"{status} from the hub", response=response)


def test_a_data_set_is_pinned_to_the_commit_and_its_training_files():
    hub = FakeHub(
        {
            "README.md": (9, None),
            "data/train-0.parquet": (7, "aa"),
            "data/test-0.parquet": (7, "bb"),
        }
    )
    source = pin_hub("org/name", ReadLimits(), hub)
    assert (source.kind, source.revision) == ("hub", COMMIT)
    assert [(one.key, one.sha256) for one in source.objects] == [
        ("data/train-0.parquet", "aa")
    ]
    assert "1 files of other splits left out" in source.note


def test_a_revision_is_asked_for():
    hub = FakeHub({"a.jsonl": (7, None)})
    source = pin_hub("hf://datasets/org/name@v1", ReadLimits(), hub)
    assert hub.revisions == ["v1"]
    assert source.objects[0].sha256 == "git-sha1:b10b"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (http_error(errors.RepositoryNotFoundError, 404), EX_NOINPUT),
        (http_error(errors.RevisionNotFoundError, 404), EX_NOINPUT),
        (http_error(errors.GatedRepoError, 403), EX_NOPERM),
        (http_error(errors.HfHubHTTPError, 503), EX_UNAVAILABLE),
        (errors.OfflineModeIsEnabled("offline"), EX_UNAVAILABLE),
        (OSError("[Errno -2] Name or service not known"), EX_UNAVAILABLE),
    ],
    ids=["wrong id", "wrong revision", "gated", "hub down", "offline", "no network"],
)
def test_a_failure_of_the_hub_is_one_clear_line(error, exit_code):
    with pytest.raises(UserError, match="org/name") as caught:
        pin_hub("org/name", ReadLimits(), FakeHub(error=error))
    assert caught.value.exit_code == exit_code
    assert "\n" not in caught.value.message


def test_a_data_set_of_scripts_alone_cannot_be_read():
    with pytest.raises(UserError, match="no file that can be read"):
        pin_hub("org/name", ReadLimits(), FakeHub({"name.py": (9, None)}))


def test_an_address_of_another_form_is_a_usage_error():
    with pytest.raises(UserError) as caught:
        pin_hub("hf://models/a/b/c", ReadLimits(), FakeHub())
    assert caught.value.exit_code == EX_USAGE


def test_files_are_read_from_the_cache_of_the_hub_client_at_the_pinned_commit(
    tmp_path, monkeypatch
):
    rows = tmp_path / "rows"
    rows.write_text('{"text": "a"}\n')
    asked = []

    def download(name, key, **keywords):
        asked.append((name, key, keywords["revision"], keywords["repo_type"]))
        return str(rows)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(hub_source, "_dataset_info", lambda *_: SimpleNamespace())
    source = pin_hub_with(FakeHub({"a.jsonl": (14, None)}))
    assert [document.text for document in read_documents(source)] == ["a"]
    assert asked == [("org/name", "a.jsonl", COMMIT, "dataset")]


def pin_hub_with(hub):
    info = hub.dataset_info("org/name", revision=None, files_metadata=True, timeout=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_source, "_dataset_info", lambda *_: info)
        return pin_hub("org/name", ReadLimits())
