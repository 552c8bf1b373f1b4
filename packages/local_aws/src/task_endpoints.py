"""What ECS tells a running task: its log stream, and the credentials of its role."""

from datetime import UTC, datetime, timedelta
from typing import Any

from moto.batch.exceptions import ClientException
from moto.sts.models import sts_backends

from packages.local_aws.src.batch_jobs import LOG_GROUP, LaptopJob
from packages.local_aws.src.http_routes import Problem, Request, Routes

SESSION_HOURS = 6


def add_task_routes(routes: Routes, instance_role_arn: str) -> None:
    """`/ecs/TASK` is the task metadata endpoint, version 4; `/credentials/TASK` gives keys.

    Args:
        instance_role_arn: whose keys a job without a role of its own gets.
    """
    held: dict[str, Any] = {}

    def credentials(request: Request) -> dict[str, str]:
        task, job = request.at["task"], _job(request)
        known = held.get(task)
        if known is None or known.expiration - datetime.now(UTC) < timedelta(hours=1):
            known = held[task] = _Session(job, instance_role_arn)
        return known.keys

    routes.add("GET", "/ecs/{task}", lambda request: _container(_job(request), request))
    routes.add("GET", "/ecs/{task}/task", _task)
    routes.add("GET", "/credentials/{task}", credentials)


def add_control_routes(routes: Routes, token: str) -> None:
    """`POST /jobs/ID/lose-host`: what AWS does to a spot instance, and nobody may ask for."""

    def lose_host(request: Request) -> dict[str, str]:
        if request.headers.get("Authorization") != f"Bearer {token}":
            raise Problem(403, "the token of state.json is missing")
        job = next(
            (j for j in LaptopJob.by_task.values() if j.job_id == request.at["job"]),
            None,
        )
        if job is None:
            raise Problem(404, f"no attempt of job {request.at['job']} has started")
        try:
            return {"instance": job.lose_host()}
        except ClientException as error:
            raise Problem(409, str(error.message)) from error

    routes.add("POST", "/jobs/{job}/lose-host", lose_host)


class _Session:
    """Keys of a job's role. They work only in the emulator."""

    def __init__(self, job: LaptopJob, instance_role_arn: str) -> None:
        account, region = job.backend.account_id, job.backend.region_name
        self.expiration = datetime.now(UTC) + timedelta(hours=SESSION_HOURS)
        role_arn = job.role_arn or instance_role_arn
        role = sts_backends[account]["aws"].assume_role(
            region_name=region,
            role_session_name=job.job_id,
            role_arn=role_arn,
            policy="",
            duration=SESSION_HOURS * 3600,
            external_id="",
        )
        self.keys = {
            "RoleArn": role_arn,
            "AccessKeyId": role.access_key_id,
            "SecretAccessKey": role.secret_access_key,
            "Token": role.session_token,
            "Expiration": self.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _job(request: Request) -> LaptopJob:
    job = LaptopJob.by_task.get(request.at["task"])
    if job is None:
        raise Problem(404, f"no task {request.at['task']}")
    return job


def _container(job: LaptopJob, request: Request) -> dict[str, Any]:
    return {
        "DockerId": request.at["task"],
        "Name": "default",
        "Image": job._get_container_property("image", ""),
        "LogDriver": "awslogs",
        "LogOptions": {
            "awslogs-group": LOG_GROUP,
            "awslogs-region": job.backend.region_name,
            "awslogs-stream": job.log_stream_name,
        },
    }


def _task(request: Request) -> dict[str, Any]:
    job = _job(request)
    account, region = job.backend.account_id, job.backend.region_name
    return {
        "TaskARN": f"arn:aws:ecs:{region}:{account}:task/{request.at['task']}",
        "Family": job.job_definition.name,
        "Revision": str(job.job_definition.revision),
        "Containers": [_container(job, request)],
    }
