"""Puts the jobs that run into moto's AWS Batch, and ends them with it."""

from typing import Any

import moto.batch.models as moto_batch
from moto.batch.exceptions import ClientException
from moto.batch.responses import BatchResponse

from packages.local_aws.src.batch_jobs import LaptopJob, asked_retries
from packages.local_aws.src.capacity import Capacity
from packages.local_aws.src.job_environment import Laptop


def make_jobs_run(laptop: Laptop) -> None:
    """From here on, moto's AWS Batch of this process starts real processes."""
    LaptopJob.laptop, LaptopJob.capacity, LaptopJob.by_task = laptop, Capacity(), {}
    moto_batch.Job = LaptopJob
    submit = BatchResponse.submitjob

    def submit_with_retries(self: Any) -> Any:
        """moto drops `retryStrategy`, and takes any time-out."""
        seconds = (self._get_param("timeout") or {}).get("attemptDurationSeconds")
        if seconds is not None and seconds < laptop.shortest_timeout_s:
            raise ClientException(
                f"attemptDurationSeconds is {seconds}; it must be at least "
                f"{laptop.shortest_timeout_s}."
            )
        asked_retries.set(self._get_param("retryStrategy"))
        return submit(self)

    BatchResponse.submitjob = submit_with_retries


def stop_all_jobs() -> None:
    """Kill whatever still runs; no job outlives the emulator."""
    for job in list(LaptopJob.by_task.values()):
        container = job._container
        if container is not None:
            container.kill()
            container.ended.wait(5)
