"""The REST surface that Metaflow's `service` metadata provider and client call."""

from typing import Any

from packages.local_aws.src.http_routes import Problem, Request, Routes
from packages.local_aws.src.metadata_store import (
    MetadataStore,
    Record,
    milliseconds,
)

# Metaflow looks at the version: heartbeats from 2.0.4, attempts from 2.0.6, tag changes
# from 2.3.0, filtered tasks from 2.5.0.
VERSION = {"METADATA_SERVICE_VERSION": "2.5.1"}
SECONDS_BETWEEN_HEARTBEATS = 10
TASK = "/flows/{flow}/runs/{run}/steps/{step}/tasks/{task}"


def metadata_routes(store: MetadataStore) -> Routes:
    """All routes of the service, answered from `store`."""
    service = _Service(store)
    routes = Routes(VERSION)
    routes.add("GET", "/ping", lambda _: "pong")
    routes.add("GET", "/flows", lambda _: store.children("flow", ""))
    routes.add("GET", "/flows/{flow}", service.flow)
    routes.add("POST", "/flows/{flow}", service.new_flow)
    routes.add("GET", "/flows/{flow}/runs", service.runs)
    routes.add("POST", "/flows/{flow}/run", service.new_run)
    routes.add("GET", "/flows/{flow}/runs/{run}", service.run)
    routes.add("PATCH", "/flows/{flow}/runs/{run}/tag/mutate", service.change_tags)
    routes.add("POST", "/flows/{flow}/runs/{run}/heartbeat", service.run_heartbeat)
    routes.add("GET", "/flows/{flow}/runs/{run}/steps", service.steps)
    step = "/flows/{flow}/runs/{run}/steps/{step}"
    routes.add("GET", step, service.step)
    routes.add("POST", step + "/step", service.new_step)
    routes.add("GET", step + "/tasks", service.tasks)
    routes.add("POST", step + "/task", service.new_task)
    routes.add("GET", step + "/filtered_tasks", service.filtered_tasks)
    routes.add("GET", TASK, service.task)
    routes.add("POST", TASK + "/heartbeat", service.task_heartbeat)
    routes.add("POST", TASK + "/artifact", service.new_artifacts)
    routes.add("GET", TASK + "/artifacts", service.artifacts)
    routes.add("GET", TASK + "/attempt/{attempt}/artifacts", service.artifacts)
    routes.add("GET", TASK + "/artifacts/{name}", service.artifact)
    routes.add("GET", TASK + "/artifacts/{name}/attempt/{attempt}", service.artifact)
    routes.add("GET", TASK + "/metadata", service.metadata)
    routes.add("POST", TASK + "/metadata", service.new_metadata)
    return routes


class _Service:
    def __init__(self, store: MetadataStore) -> None:
        self.store = store

    def _create(self, kind: str, parent: str, name: str, body: Record) -> Record:
        if not self.store.create(kind, parent, name, body):
            raise Problem(409, f"{kind} {parent}/{name} exists")
        return body

    def _get(self, kind: str, parent: str, name: str) -> Record:
        found = self.store.get(kind, parent, name)
        if found is None:
            raise Problem(404, f"{kind} {parent}/{name} not found")
        return found

    def flow(self, request: Request) -> Record:
        return self._get("flow", "", request.at["flow"])

    def new_flow(self, request: Request) -> Record:
        name = request.at["flow"]
        return self._create("flow", "", name, _body(request, flow_id=name))

    def run(self, request: Request) -> Record:
        return self._get("run", request.at["flow"], request.at["run"])

    def runs(self, request: Request) -> list[Record]:
        return self.store.children("run", request.at["flow"])

    def new_run(self, request: Request) -> Record:
        flow = request.at["flow"]
        asked = (request.body or {}).get("run_number") or request.body.get("run_id")
        name = str(asked or self.store.next_number("run"))
        body = _body(
            request,
            flow_id=flow,
            run_number=int(name) if name.isdigit() else name,
            run_id=None if name.isdigit() else name,
            last_heartbeat_ts=None,
        )
        return self._create("run", flow, name, body)

    def change_tags(self, request: Request) -> dict[str, Any]:
        body = request.body or {}
        add, remove = body.get("tags_to_add", []), body.get("tags_to_remove", [])
        try:
            tags = self.store.change_tags(
                request.at["flow"], request.at["run"], add, remove
            )
        except ValueError as error:
            raise Problem(422, str(error)) from error
        if tags is None:
            raise Problem(404, f"run {_path(request, 'flow', 'run')} not found")
        return {"tags": tags}

    def run_heartbeat(self, request: Request) -> dict[str, int]:
        now = {"last_heartbeat_ts": milliseconds() // 1000}
        self.store.change("run", request.at["flow"], request.at["run"], now)
        return {"wait_time_in_seconds": SECONDS_BETWEEN_HEARTBEATS}

    def task_heartbeat(self, request: Request) -> dict[str, int]:
        now = {"last_heartbeat_ts": milliseconds() // 1000}
        parent = _path(request, "flow", "run", "step")
        self.store.change("task", parent, request.at["task"], now)
        return {"wait_time_in_seconds": SECONDS_BETWEEN_HEARTBEATS}

    def step(self, request: Request) -> Record:
        return self._get("step", _path(request, "flow", "run"), request.at["step"])

    def steps(self, request: Request) -> list[Record]:
        return self.store.children("step", _path(request, "flow", "run"))

    def new_step(self, request: Request) -> Record:
        parent, name = _path(request, "flow", "run"), request.at["step"]
        body = _body(request, **_place(request), step_name=name)
        return self._create("step", parent, name, body)

    def task(self, request: Request) -> Record:
        parent = _path(request, "flow", "run", "step")
        return self._get("task", parent, request.at["task"])

    def tasks(self, request: Request) -> list[Record]:
        return self.store.children("task", _path(request, "flow", "run", "step"))

    def new_task(self, request: Request) -> Record:
        asked = (request.body or {}).get("task_id")
        name = str(asked or self.store.next_number("task"))
        body = _body(
            request, **_place(request), step_name=request.at["step"], task_id=name
        )
        return self._create("task", _path(request, "flow", "run", "step"), name, body)

    def filtered_tasks(self, request: Request) -> list[str]:
        query = request.query
        return self.store.tasks_with(
            _path(request, "flow", "run", "step"),
            query.get("metadata_field_name"),
            query.get("pattern"),
        )

    def new_artifacts(self, request: Request) -> dict[str, int]:
        task = _path(request, "flow", "run", "step", "task")
        for sent in request.body:
            body = {**_task_place(request), **sent, "ts_epoch": milliseconds()}
            attempt = int(sent["attempt_id"])
            self.store.add_note("artifact", task, sent["name"], attempt, body)
        return {"artifacts_created": len(request.body)}

    def _artifacts(self, request: Request) -> dict[str, Record]:
        attempt = request.at.get("attempt")
        return self.store.artifacts(
            _path(request, "flow", "run", "step", "task"),
            None if attempt is None else int(attempt),
        )

    def artifacts(self, request: Request) -> list[Record]:
        return list(self._artifacts(request).values())

    def artifact(self, request: Request) -> Record:
        found = self._artifacts(request).get(request.at["name"])
        if found is None:
            raise Problem(404, f"artifact {request.at['name']} not found")
        return found

    def metadata(self, request: Request) -> list[Record]:
        return self.store.metadata(_path(request, "flow", "run", "step", "task"))

    def new_metadata(self, request: Request) -> dict[str, int]:
        task = _path(request, "flow", "run", "step", "task")
        for sent in request.body:
            body = {**_task_place(request), **sent, "ts_epoch": milliseconds()}
            self.store.add_note("metadata", task, sent["field_name"], 0, body)
        return {"metadata_created": len(request.body)}


def _path(request: Request, *parts: str) -> str:
    return "/".join(request.at[part] for part in parts)


def _place(request: Request) -> dict[str, Any]:
    return {"flow_id": request.at["flow"], "run_number": request.at["run"]}


def _task_place(request: Request) -> dict[str, Any]:
    names = {"step_name": request.at["step"], "task_id": request.at["task"]}
    return {**_place(request), **names}


def _body(request: Request, **fixed: Any) -> Record:
    """What was sent, with the fields that every record has."""
    sent = {"tags": [], "system_tags": [], **(request.body or {})}
    return {**sent, **fixed, "ts_epoch": milliseconds()}
