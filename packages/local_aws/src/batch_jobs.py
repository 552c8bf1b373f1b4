"""AWS Batch jobs that run: moto's jobs, with a local process in place of Docker."""

import contextlib
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import moto.batch.models as moto_batch
from moto.batch.exceptions import ClientException
from moto.core.utils import unix_time_millis
from moto.ecr.models import ecr_backends

from packages.local_aws.src.capacity import Capacity, why_blocked
from packages.local_aws.src.container import Container
from packages.local_aws.src.job_environment import (
    Attempt,
    Laptop,
    job_environment,
    write_rerun_script,
)
from packages.local_aws.src.retry_strategy import asks_for_retry, attempts_allowed
from packages.local_aws.src.task_start import missing_image, missing_role

log = logging.getLogger(__name__)
ESSENTIAL_EXITED = "Essential container in task exited"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
TIMED_OUT = "Job attempt duration exceeded timeout"
DEPENDENCY_FAILED = "Dependent Job failed"
LOG_GROUP = "/aws/batch/job"
SECONDS_BETWEEN_MEMORY_CHECKS = 0.5
asked_retries: ContextVar[dict[str, Any] | None] = ContextVar("retries", default=None)


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended. No exit code: the container never ran, or its host went."""

    exit_code: int | None
    reason: str
    status_reason: str
    was_stopped: bool = False  # by TerminateJob or by its time-out: never tried again

    @property
    def succeeded(self) -> bool:
        """Stopped jobs fail, even those that end with 0 when they are asked to."""
        return self.exit_code == 0 and not self.was_stopped


class LaptopJob(moto_batch.Job):  # type: ignore[misc]
    """One job of the emulated AWS Batch; a thread, as in moto."""

    laptop: Laptop
    capacity: Capacity
    by_task: dict[str, "LaptopJob"]
    stop: bool
    job_stopped_reason: str | None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.retry_strategy = asked_retries.get() or self.job_definition.retry_strategy
        self._changing = threading.RLock()
        self._woken = threading.Event()
        self._container: Container | None = None
        self._lost_host: str | None = None

    # What moto's backend and the API call

    def describe(self) -> dict[str, Any]:
        with self._changing:
            described: dict[str, Any] = super().describe()
            described["retryStrategy"] = {
                "evaluateOnExit": [],
                **(self.retry_strategy or {}),
                "attempts": attempts_allowed(self.retry_strategy),
            }
            if not self.attempts:
                described.pop("startedAt", None)
            return described

    def describe_short(self) -> dict[str, Any]:
        with self._changing:
            short: dict[str, Any] = super().describe_short()
            return short

    def terminate(self, reason: str) -> None:
        """Stop the job, as TerminateJob does. Nothing happens to one that has ended."""
        with self._changing:
            if self.job_stopped or self.stop:
                return
            self.job_stopped_reason = reason
            self.stop = True
        self._wake()

    def lose_host(self) -> str:
        """Take the machine away, as a spot interruption does; returns its instance id."""
        with self._changing:
            instance = f"i-{uuid.uuid4().hex[:17]}"
            if self._container is None or self.job_stopped:
                raise ClientException(
                    f"Job {self.job_id} is {self.status}: it has no host to lose. "
                    "Only a job that is RUNNING can be interrupted."
                )
            self._lost_host = instance
        self._wake()
        return instance

    def _wake(self) -> None:
        self._woken.set()
        with self.capacity.changed:
            self.capacity.changed.notify_all()

    def _get_container_property(self, p: str, default: Any) -> Any:
        """moto's own appends to the caller's list at each call; this one does not."""
        if p == "environment":
            return [{"name": k, "value": v} for k, v in self._own_variables().items()]
        return super()._get_container_property(p, default)

    def _container_details(self) -> dict[str, Any]:
        details: dict[str, Any] = super()._container_details()
        for name in ("image", "jobRoleArn", "resourceRequirements"):
            value = self._get_container_property(name, None)
            if value is not None:
                details[name] = value
        if self.attempts and self.job_stopped:
            details.update(self.attempts[-1]["container"])
        return details

    # The life of a job

    def run(self) -> None:
        try:
            self._live()
        except Exception:  # the thread is the job: whatever breaks is its failure
            log.exception("job %s broke the emulator", self.job_id)
            self._end(False, "Internal error of the emulator; see its service.log")
        finally:
            self.capacity.leave(self)

    def _live(self) -> None:
        self.status = "PENDING"
        if not self._dependencies_succeeded():
            return
        outcome: Outcome | None = None
        for number in range(1, attempts_allowed(self.retry_strategy) + 1):
            outcome = self._place_and_attempt(number)
            if outcome is None or outcome.succeeded or outcome.was_stopped:
                break
            if not asks_for_retry(
                self.retry_strategy,
                outcome.exit_code,
                outcome.reason,
                outcome.status_reason,
            ):
                break
        if outcome is None:
            self._end(False, self.job_stopped_reason or "")
        else:
            self._end(outcome.succeeded, outcome.status_reason)

    def _end(self, succeeded: bool, status_reason: str) -> None:
        with self._changing:
            self.job_stopped_reason = status_reason
            self._mark_stopped(success=succeeded)
        with self.capacity.changed:
            self.capacity.changed.notify_all()

    def _dependencies_succeeded(self) -> bool:
        needed = [item["jobId"] for item in self.depends_on or [] if "jobId" in item]
        with self.capacity.changed:
            while not self.stop:
                states = {self.all_jobs[i].status for i in needed if i in self.all_jobs}
                if "FAILED" in states:
                    self._end(False, DEPENDENCY_FAILED)
                    return False
                if states <= {"SUCCEEDED"}:
                    return True
                self.capacity.changed.wait()
        self._end(False, self.job_stopped_reason or "")
        return False

    def _place_and_attempt(self, number: int) -> Outcome | None:
        """One attempt, once there is room for it; None if the job was stopped before."""
        self.status = "RUNNABLE"
        self.capacity.line_up(self)
        with self.capacity.changed:
            while not self.stop:
                environment = self.capacity.take(self)
                if environment is not None:
                    break
                self._explain_waiting()
                self.capacity.changed.wait(timeout=5.0)  # environments change unheard
            else:
                self.capacity.leave(self)
                return None
        try:
            return self._attempt_on(environment, number)
        finally:
            self.capacity.give_back(environment, self.vcpus)

    def _explain_waiting(self) -> None:
        with self._changing:
            if not self.stop:
                self.job_stopped_reason = why_blocked(self)

    @property
    def vcpus(self) -> float:
        """What the job asks for, 1 by default."""
        return float(self._required("VCPU") or self._get_container_property("vcpus", 1))

    def _required(self, kind: str) -> str | None:
        """A resource requirement: that of the submission, else of the definition."""
        for properties in (
            self.container_overrides,
            self.job_definition.container_properties or {},
        ):
            for item in properties.get("resourceRequirements") or []:
                if item["type"] == kind:
                    return str(item["value"])
        return None

    def _own_variables(self) -> dict[str, str]:
        defined = (self.job_definition.container_properties or {}).get("environment")
        submitted = self.container_overrides.get("environment")
        return {
            item["name"]: item.get("value", "")
            for item in [*(defined or []), *(submitted or [])]
        }

    # One attempt

    def _attempt_on(self, environment: Any, number: int) -> Outcome:
        task_id = uuid.uuid4().hex
        attempt = Attempt(
            job_id=self.job_id,
            number=number,
            task_id=task_id,
            queue_name=self.job_queue.name,
            environment_name=environment.name,
            log_stream=f"{self.job_definition.name}/default/{task_id}",
        )
        with self._changing:
            self.status = "STARTING"
            self.job_stopped_reason = None if not self.stop else self.job_stopped_reason
        self.by_task[task_id] = self
        if refused := self._cannot_start():
            outcome = Outcome(None, refused, "Task failed to start")
            self._record(attempt, None, outcome)
            return outcome
        started = datetime.now()
        folder = self.laptop.folder / "jobs" / self.job_id.replace(":", "-")
        with self._running(attempt, folder / str(number)) as container:
            with self._changing:
                self.job_started_at = started
                self._container = container
                self.status = "RUNNING"
                running = self._record(attempt, started, None)
            outcome = self._watch(container)
        with self._changing:
            self._container = None
            self.attempts.remove(running)
            self._record(attempt, started, outcome)
        if outcome.succeeded:
            shutil.rmtree(folder / str(number), ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        return outcome

    def _cannot_start(self) -> str | None:
        if self.job_definition.type != "container":
            return "UnsupportedByEmulator: only single-node container jobs run here"
        image = str(self._get_container_property("image", ""))
        return missing_image(image, ecr_backends) or missing_role(
            self.role_arn, self.backend.iam_backend
        )

    @property
    def role_arn(self) -> str | None:
        """The role of the job's credentials."""
        arn: str | None = self._get_container_property("jobRoleArn", None)
        return arn

    @contextlib.contextmanager
    def _running(self, attempt: Attempt, folder: Path) -> Iterator[Container]:
        (folder / "tmp").mkdir(parents=True)
        logs = self._log_backend
        logs.ensure_log_group(LOG_GROUP)
        logs.ensure_log_stream(LOG_GROUP, attempt.log_stream)
        self.log_stream_name = attempt.log_stream

        def keep(lines: list[str]) -> None:
            now = unix_time_millis()
            events = [{"timestamp": int(now), "message": line} for line in lines]
            logs.put_log_events(LOG_GROUP, attempt.log_stream, events)

        command = self._add_parameters_to_command(
            self._get_container_property("command", [])
        )
        variables = job_environment(self.laptop, attempt, self._own_variables(), folder)
        write_rerun_script(folder, command, variables)
        container = Container(command, variables, folder, keep)
        try:
            yield container
        finally:
            container.kill()
            container.ended.wait()

    def _watch(self, container: Container) -> Outcome:
        """Wait for the end, whatever brings it: exit, stop, time-out, memory, host."""
        container.call_at_end(self._woken.set)
        seconds = self._get_attempt_duration()
        deadline = time.monotonic() + seconds if seconds else None
        memory_mib = self._required("MEMORY")
        stopped_for: str | None = None
        while not container.ended.is_set():
            self._woken.wait(SECONDS_BETWEEN_MEMORY_CHECKS)
            self._woken.clear()
            if self._lost_host:
                container.kill()
                container.ended.wait()
                lost, self._lost_host = self._lost_host, None
                return Outcome(None, "", f"Host EC2 (instance {lost}) terminated.")
            if container.ended.is_set():
                break
            if memory_mib:
                container.enforce_memory(int(memory_mib))
            if stopped_for is None:
                timed_out = deadline is not None and time.monotonic() > deadline
                if self.stop or timed_out:
                    stopped_for = self.job_stopped_reason if self.stop else TIMED_OUT
                    deadline = time.monotonic() + self.laptop.stop_timeout_s
                    container.stop()
            elif deadline is not None and time.monotonic() > deadline:
                container.kill()
                container.ended.wait()
        reason = OUT_OF_MEMORY if container.ran_out_of_memory else ""
        if stopped_for is not None:
            return Outcome(container.exit_code, reason, stopped_for, was_stopped=True)
        return Outcome(container.exit_code, reason, ESSENTIAL_EXITED)

    def _record(
        self, attempt: Attempt, started: datetime | None, outcome: Outcome | None
    ) -> dict[str, Any]:
        """Add one entry to `attempts`, as DescribeJobs lists them."""
        account, region = self.backend.account_id, self.backend.region_name
        container: dict[str, Any] = {
            "taskArn": f"arn:aws:ecs:{region}:{account}:task/{attempt.task_id}",
            "networkInterfaces": [],
        }
        entry: dict[str, Any] = {"container": container}
        if started is not None:
            container["logStreamName"] = attempt.log_stream
            entry["startedAt"] = int(started.timestamp() * 1000)
        if outcome is not None:
            entry["stoppedAt"] = int(time.time() * 1000)
            entry["statusReason"] = outcome.status_reason
            if outcome.exit_code is not None:
                container["exitCode"] = outcome.exit_code
            if outcome.reason:
                container["reason"] = outcome.reason
            self.exit_code = outcome.exit_code
        self.attempts.append(entry)
        return entry
