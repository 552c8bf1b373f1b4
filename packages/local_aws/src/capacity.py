"""Which job may start: vCPUs of the compute environments, first in, first out per queue."""

import threading
from typing import Any, Protocol

# The wording of "Jobs stuck in a RUNNABLE status" in the AWS Batch user guide.
TOO_LARGE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the "
    "job queue cannot meet the CPU requirement of the job."
)
NO_ENVIRONMENT = "ACTION_REQUIRED - CE(s) associated with the job queue are disabled."


class Waiting(Protocol):
    """What placing needs to know of a job."""

    @property
    def job_queue(self) -> Any: ...
    @property
    def vcpus(self) -> float: ...


def max_vcpus(environment: Any) -> float:
    """What a compute environment may grow to; without limit when it is unmanaged."""
    return float((environment.compute_resources or {}).get("maxvCpus") or "inf")


class Capacity:
    """The vCPUs in use. `changed` is notified when a job may have become startable."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._waiting: list[Waiting] = []
        self._used: dict[str, float] = {}

    def line_up(self, job: Waiting) -> None:
        """Put a job at the end of its queue."""
        with self.changed:
            self._waiting.append(job)

    def leave(self, job: Waiting) -> None:
        """Take a job out of its queue: it was placed, or it is given up."""
        with self.changed:
            if job in self._waiting:
                self._waiting.remove(job)
            self.changed.notify_all()

    def take(self, job: Waiting) -> Any | None:
        """The first compute environment with room for the job, its vCPUs now in use.

        None while there is no room, or another job is before it in the queue.
        """
        with self.changed:
            first = next(j for j in self._waiting if j.job_queue is job.job_queue)
            if first is not job:
                return None
            for environment in job.job_queue.environments:
                used = self._used.get(environment.arn, 0.0)
                fits = used + job.vcpus <= max_vcpus(environment)
                if environment.state == "ENABLED" and fits:
                    self._used[environment.arn] = used + job.vcpus
                    self._waiting.remove(job)
                    self.changed.notify_all()
                    return environment
            return None

    def give_back(self, environment: Any, vcpus: float) -> None:
        """The job that held these vCPUs has ended."""
        with self.changed:
            self._used[environment.arn] -= vcpus
            self.changed.notify_all()


def why_blocked(job: Waiting) -> str | None:
    """What Batch would say of a job that no wait will help; None if it only waits."""
    environments = [e for e in job.job_queue.environments if e.state == "ENABLED"]
    if not environments:
        return NO_ENVIRONMENT
    if all(job.vcpus > max_vcpus(environment) for environment in environments):
        return TOO_LARGE
    return None
