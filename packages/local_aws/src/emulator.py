"""AWS on a laptop: start it, use it, stop it."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import packages
from packages.local_aws.src.account import Keys, connect
from packages.local_aws.src.metaflow_profile import export_lines
from packages.local_aws.src.service import (
    LOCK_FILE,
    LOG_FILE,
    STATE_FILE,
    ServiceSettings,
    State,
)

LOG_GROUP = "/aws/batch/job"
SECONDS_TO_STOP = 60.0
STATES = (
    "SUBMITTED",
    "PENDING",
    "RUNNABLE",
    "STARTING",
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
)


class EmulatorProblem(Exception):
    """The emulator cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Job:
    """One Batch job, as `status` lists it."""

    job_id: str
    name: str
    status: str
    reason: str


def default_folder() -> Path:
    """`local_aws` in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "local_aws"


class Emulator:
    """The emulator of one folder, which another process may have started.

    Args:
        folder: where it keeps its state, log and job folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lifeline: int | None = None
        self._process: _Service | None = None
        self._clients: dict[tuple[int, str], Any] = {}

    def start(
        self,
        *,
        metaflow_home: Path,
        aws_port: int = 0,
        local_port: int = 0,
        data: Path | None = None,
        enforce_iam: bool = False,
        managed_policies: bool = False,
        stop_timeout_s: float = 30.0,
        shortest_timeout_s: int = 60,
        ends_with_me: bool = True,
    ) -> State:
        """Start it, and return once all of it answers.

        Args:
            managed_policies: know AWS's own IAM policies, which Terraform may attach.
                Takes 1.5 s of processor time.
            ends_with_me: end it and its jobs with this process, however this one ends.

        Raises:
            EmulatorProblem: one runs already in this folder, or it did not come up.
        """
        if self.is_running():
            raise EmulatorProblem(
                f"an emulator already runs in {self.folder} (process "
                f"{self.state().pid}). Use it, or stop it first."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "jobs", ignore_errors=True)
        ready, says_ready = os.pipe()
        lifeline, keeps_alive = os.pipe() if ends_with_me else (None, None)
        settings = ServiceSettings(
            folder=str(self.folder),
            ready=says_ready,
            lifeline=lifeline,
            aws_port=aws_port,
            local_port=local_port,
            data=str(data.absolute()) if data else None,
            metaflow_home=str(metaflow_home.absolute()),
            enforce_iam=enforce_iam,
            stop_timeout_s=stop_timeout_s,
            shortest_timeout_s=shortest_timeout_s,
        )
        with (self.folder / LOG_FILE).open("wb") as log:
            self._process = _Service(
                [  # noqa: S603, our own module
                    sys.executable,
                    "-m",
                    "packages.local_aws.src.service",
                    json.dumps(asdict(settings)),
                ],
                env=_service_environment(managed_policies),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[fd for fd in (says_ready, lifeline) if fd is not None],
            )
        for fd in (says_ready, lifeline):
            if fd is not None:
                os.close(fd)
        self._lifeline = keeps_alive
        with os.fdopen(ready, "rb") as stream:
            if stream.readline() != b"ready\n":
                self.stop()
                raise EmulatorProblem(self._why_not_up())
        return self.state()

    def _why_not_up(self) -> str:
        lines = (self.folder / LOG_FILE).read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "it said nothing"
        hint = "Ask for another port." if "Address already in use" in last else ""
        return f"the emulator did not start: {last} (all of it: {self.folder / LOG_FILE}). {hint}"

    def is_running(self) -> bool:
        """Whether an emulator lives in this folder: it holds the lock as long as it does."""
        try:
            with (self.folder / LOCK_FILE).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def state(self) -> State:
        """Where the running emulator answers.

        Raises:
            EmulatorProblem: none runs.
        """
        try:
            if not self.is_running():
                raise FileNotFoundError
            return State(**json.loads((self.folder / STATE_FILE).read_text()))
        except FileNotFoundError:
            raise EmulatorProblem(
                f"no emulator runs in {self.folder}. Start one with `aws up`."
            ) from None

    def stop(self) -> bool:
        """End it and every job of it; False if none ran. Signals that process only."""
        ran = self.is_running()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        deadline = time.monotonic() + SECONDS_TO_STOP
        number = signal.SIGTERM
        while self.is_running():  # it holds the lock, so the process id is its own
            with contextlib.suppress(EmulatorProblem, ProcessLookupError):
                os.kill(self.state().pid, number)
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            time.sleep(0.05)
        if self._process is not None:
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder / "jobs", ignore_errors=True)
        return ran

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What a client does with it

    def environment(self) -> Mapping[str, str]:
        """The variables that make a process use it."""
        return self.state().environment

    def exports(self) -> list[str]:
        """Lines for a shell, to the same end."""
        return export_lines(self.state().environment)

    def client(self, service: str) -> Any:
        """A boto3 client of it. Kept: to make one takes 0.3 s of processor time."""
        state = self.state()
        if (state.pid, service) not in self._clients:
            keys = Keys(
                state.environment["AWS_ACCESS_KEY_ID"],
                state.environment["AWS_SECRET_ACCESS_KEY"],
            )
            made = connect(service, state.aws_url, keys)
            self._clients[state.pid, service] = made
        return self._clients[state.pid, service]

    def jobs(self) -> list[Job]:
        """Every job of every queue, the oldest first."""
        batch = self.client("batch")
        # By id: a job that moves on between two questions is in both answers.
        found = {
            job["jobId"]: job
            for queue in batch.describe_job_queues()["jobQueues"]
            for state in STATES
            for job in batch.list_jobs(jobQueue=queue["jobQueueName"], jobStatus=state)[
                "jobSummaryList"
            ]
        }
        in_order = sorted(found.values(), key=lambda job: job["createdAt"])
        return [
            Job(
                job["jobId"], job["jobName"], job["status"], job.get("statusReason", "")
            )
            for job in in_order
        ]

    def find_job(self, wanted: str) -> Job:
        """The job with this id, a beginning of its id, or its name; the newest of a name.

        Raises:
            EmulatorProblem: none, or several ids begin so.
        """
        jobs = self.jobs()
        named = [job for job in jobs if job.name == wanted]
        begins = [job for job in jobs if job.job_id.startswith(wanted)]
        if named:
            return named[-1]
        if len(begins) == 1:
            return begins[0]
        known = "".join(
            f"\n  {job.job_id}  {job.status:<9}  {job.name}" for job in jobs
        )
        count = "several jobs begin" if begins else "no job is called, or begins,"
        raise EmulatorProblem(
            f"{count} with {wanted!r}. The jobs are:{known or ' none'}"
        )

    def log_lines(self, job_id: str) -> Iterator[str]:
        """What every attempt of a job wrote, read from CloudWatch."""
        job = self.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
        logs = self.client("logs")
        for attempt in job["attempts"]:
            stream = attempt["container"].get("logStreamName")
            if stream is None:
                continue
            token: dict[str, str] = {}
            while True:
                page = logs.get_log_events(
                    logGroupName=LOG_GROUP,
                    logStreamName=stream,
                    startFromHead=True,
                    **token,
                )
                for event in page["events"]:
                    yield event["message"]
                if not page["events"] or page["nextForwardToken"] == token.get(
                    "nextToken"
                ):
                    break
                token = {"nextToken": page["nextForwardToken"]}

    def kill(self, job_id: str, *, as_spot: bool = False) -> str:
        """End a job; returns the statusReason that it gets.

        Args:
            as_spot: take its machine away, instead of asking it to stop.

        Raises:
            EmulatorProblem: it has no machine to lose.
        """
        if not as_spot:
            reason = "Terminated by `aws kill`."
            self.client("batch").terminate_job(jobId=job_id, reason=reason)
            return reason
        state = self.state()
        request = urllib.request.Request(  # noqa: S310, our own service
            f"{state.local_url}/jobs/{job_id}/lose-host",
            method="POST",
            headers={"Authorization": f"Bearer {state.token}"},
        )
        try:
            with _no_proxy().open(request) as answer:
                instance = json.load(answer)["instance"]
        except urllib.error.HTTPError as error:
            with error:
                raise EmulatorProblem(json.load(error)["message"]) from error
        return f"Host EC2 (instance {instance}) terminated."


class _Service(subprocess.Popen[bytes]):
    def __del__(self) -> None:
        """`aws up` ends before its service does: no warning about that."""


def _no_proxy() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _service_environment(managed_policies: bool) -> dict[str, str]:
    """Ours, less any AWS account; `packages` is found from any folder."""
    root = str(Path(packages.__path__[0]).resolve().parent)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "METAFLOW_", "MOTO_"))
    }
    others = kept.get("PYTHONPATH", "").split(os.pathsep)
    path = [root, *(other for other in others if other and other != root)]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path),
        "MOTO_IAM_LOAD_MANAGED_POLICIES": str(managed_policies).lower(),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
    }
