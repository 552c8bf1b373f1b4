"""Calls as Metaflow 2.19 makes them; the whole of it runs in test_toy_flow.py."""

import pytest

from packages.local_aws.src.http_routes import Problem
from packages.local_aws.src.metadata_service import metadata_routes
from packages.local_aws.src.metadata_store import MetadataStore

TASK = "/flows/F/runs/1/steps/train/tasks/1"


@pytest.fixture
def call():
    routes = metadata_routes(MetadataStore())

    def send(method, path, body=None):
        return routes.answer(method, path, body, {})

    return send


@pytest.fixture
def task(call):
    call("POST", "/flows/F", {})
    call("POST", "/flows/F/run", {"tags": ["mine"], "system_tags": ["runtime:dev"]})
    call("POST", "/flows/F/runs/1/steps/train/step", {})
    return call("POST", "/flows/F/runs/1/steps/train/task", {})


def test_runs_and_tasks_are_numbered(call, task):
    assert task["task_id"] == "1"
    assert call("POST", "/flows/F/run", {})["run_number"] == 2
    assert [run["run_number"] for run in call("GET", "/flows/F/runs")] == [2, 1]


def test_names_of_runs_are_kept(call, task):
    run = call("POST", "/flows/F/run", {"run_number": "sfn-abc"})

    assert run["run_number"] == run["run_id"] == "sfn-abc"
    assert call("GET", "/flows/F/runs/sfn-abc") == run


def test_what_exists_is_a_conflict_and_what_does_not_is_not_found(call, task):
    with pytest.raises(Problem) as conflict:
        call("POST", "/flows/F", {})
    with pytest.raises(Problem) as missing:
        call("GET", "/flows/F/runs/9")

    assert (conflict.value.status, missing.value.status) == (409, 404)


def test_tags_change_in_one_call(call, task):
    body = {"tags_to_add": ["production"], "tags_to_remove": ["mine"]}

    assert call("PATCH", "/flows/F/runs/1/tag/mutate", body) == {"tags": ["production"]}
    assert call("GET", "/flows/F/runs/1")["tags"] == ["production"]


def test_a_system_tag_stays(call, task):
    body = {"tags_to_remove": ["runtime:dev"]}

    with pytest.raises(Problem, match="runtime:dev") as refused:
        call("PATCH", "/flows/F/runs/1/tag/mutate", body)
    assert refused.value.status == 422


def test_artifacts_are_those_of_the_last_attempt_unless_one_is_asked_for(call, task):
    for attempt in (0, 1):
        body = [{"name": "x", "attempt_id": attempt, "sha": f"sha{attempt}"}]
        call("POST", f"{TASK}/artifact", body)

    assert [a["sha"] for a in call("GET", f"{TASK}/artifacts")] == ["sha1"]
    assert call("GET", f"{TASK}/artifacts/x")["sha"] == "sha1"
    assert call("GET", f"{TASK}/artifacts/x/attempt/0")["sha"] == "sha0"
    assert [a["sha"] for a in call("GET", f"{TASK}/attempt/0/artifacts")] == ["sha0"]


def test_tasks_are_found_by_what_their_metadata_says(call, task):
    call("POST", "/flows/F/runs/1/steps/train/task", {})
    entry = {"field_name": "aws-batch-job-id", "value": "abc-1", "type": "id"}
    call("POST", f"{TASK}/metadata", [entry])
    step = "/flows/F/runs/1/steps/train"
    query = "metadata_field_name=aws-batch-job-id&pattern=^(?:abc.*)$"

    assert call("GET", f"{step}/filtered_tasks?{query}") == ["F/1/train/1"]
    assert len(call("GET", f"{step}/filtered_tasks")) == 2
    assert call("GET", f"{TASK}/metadata")[0]["value"] == "abc-1"


def test_heartbeats_are_kept(call, task):
    assert call("POST", "/flows/F/runs/1/heartbeat", {})["wait_time_in_seconds"] == 10
    call("POST", f"{TASK}/heartbeat", {})

    assert call("GET", "/flows/F/runs/1")["last_heartbeat_ts"] > 1_700_000_000
    assert call("GET", TASK)["last_heartbeat_ts"] > 1_700_000_000
