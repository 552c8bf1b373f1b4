"""The mandated command on a laptop: raw text to a registered adapter, accepted, rejected, and stopped."""

import json
import re

import pytest

from packages.qwen_ft.src.version import VERSION
from tests.end_to_end.flow_process import SMALL, client, run_flow

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="module")
def first(workplace):
    finished = run_flow(workplace, "run", "--set", SMALL)
    assert finished.exit_code == 0, finished.output
    return finished


@pytest.fixture(scope="module")
def second(workplace, first):
    finished = run_flow(workplace, "run", "--set", SMALL)
    assert finished.exit_code == 0, finished.output
    return finished


def sha_of(finished) -> str:
    return re.search(r"adapter sha256 +([0-9a-f]{64})", finished.output)[1]


def test_the_first_run_registers_v1_0_and_says_why(workplace, first):
    assert "accepted: tuned/base perplexity" in first.output
    version = workplace / "registry" / "tiny-qwen2-lora" / "v1.0"
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["version"] == "v1.0"
    assert (version / "adapter_model.safetensors").is_file()


def test_the_adapter_that_is_registered_is_the_one_that_was_measured(workplace, first):
    version = workplace / "registry" / "tiny-qwen2-lora" / "v1.0"
    files = json.loads((version / "manifest.json").read_text())["files"]
    registered = {file["path"]: file["sha256"] for file in files}
    assert registered["adapter_model.safetensors"] == sha_of(first)
    measured = client(
        workplace,
        "from metaflow import Flow, namespace; namespace(None); "
        "print(Flow('TrainingFlow').latest_successful_run.data.report.adapter_sha256)",
    )
    assert measured == sha_of(first)


def test_the_same_run_again_makes_v1_1_with_the_same_data_and_adapter(
    workplace, first, second
):
    assert sha_of(second) == sha_of(first)
    folder = workplace / "registry" / "tiny-qwen2-lora"
    lineages = [
        json.loads((folder / version / "manifest.json").read_text())["lineage"]
        for version in ("v1.0", "v1.1")
    ]
    assert lineages[0]["data_sha256"] == lineages[1]["data_sha256"]
    assert lineages[0]["run"] != lineages[1]["run"]


def test_tokens_are_written_once_for_both_runs(workplace, second):
    assert "tokens unchanged" in second.output
    store = workplace / ".metaflow" / "qwen_ft" / "tokens"
    assert len(list(store.glob("*.json"))) == 1


def test_the_production_tag_is_on_the_last_accepted_run_alone(workplace, second):
    tagged = client(
        workplace,
        "from metaflow import Flow, namespace; namespace(None); "
        "print([r.id for r in Flow('TrainingFlow').runs('production')])",
    )
    assert tagged == f"['{run_id(second)}']"


@pytest.fixture(scope="module")
def rejected(workplace, second):
    two_trials = "{trials: [{}, {lora.r: 4}]}"
    settings = f"{SMALL} gate.max_perplexity=1.01"
    return run_flow(
        workplace, "--config-value", "run_config", two_trials, "run", "--set", settings
    )


def run_id(finished) -> str:
    return re.search(r"run-id (\d+)", finished.output)[1]


def test_a_rejected_run_ends_green_registers_nothing_and_says_why(workplace, rejected):
    assert rejected.exit_code == 0, rejected.output
    why = r"rejected: tuned perplexity [\d.]+ is not below 1.01"
    assert re.search(why, rejected.output)
    folder = workplace / "registry" / "tiny-qwen2-lora"
    assert sorted(p.name for p in folder.glob("v*")) == ["v1.0", "v1.1"]


def test_each_trial_is_a_branch_and_the_best_goes_on(workplace, rejected):
    trained = client(
        workplace,
        "from metaflow import Run, namespace; namespace(None); "
        f"d = Run('TrainingFlow/{run_id(rejected)}').data; "
        "best = min(d.trained, key=lambda t: t.last_perplexity); "
        "print(len(d.trained), d.adapter == best)",
    )
    assert trained == "2 True"


def test_a_rejected_run_leaves_the_tag_where_it_was(workplace, second, rejected):
    tagged = client(
        workplace,
        "from metaflow import Flow, namespace; namespace(None); "
        "print([r.id for r in Flow('TrainingFlow').runs('production')])",
    )
    assert tagged == f"['{run_id(second)}']"


def test_a_run_names_the_release_that_made_it(workplace, second):
    tags = client(
        workplace,
        "from metaflow import Run, namespace; namespace(None); "
        f"print('qwen_ft:{VERSION}' in Run('TrainingFlow/{run_id(second)}').tags)",
    )
    assert tags == "True"


def test_resume_reuses_the_earlier_artifacts(workplace, rejected):
    finished = run_flow(workplace, "resume", "--origin-run-id", run_id(rejected), "end")

    assert finished.exit_code == 0, finished.output
    assert (
        "Cloning" in finished.output and "rejected: tuned perplexity" in finished.output
    )
    assert "training: " not in finished.output  # nothing was trained again


def test_metrics_read_back_as_numbers_with_the_client_alone(workplace, second):
    perplexity = client(
        workplace,
        "from metaflow import Flow, namespace; namespace(None); "
        "r = Flow('TrainingFlow').latest_successful_run; print(r.data.metrics['perplexity'])",
    )
    assert 1 < float(perplexity) < 1000
