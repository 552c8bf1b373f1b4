"""Why an AWS Batch job is still RUNNABLE, from what the Describe calls answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Described = Mapping[str, Any]

# The codes that Batch writes before " - " into the statusReason of a RUNNABLE job: "Jobs
# stuck in a RUNNABLE status" in its user guide.
ADVICE = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": (
        "AWS has no machine of the wanted types to give at the moment. It goes on trying. "
        "Allow more instance types or zones in the compute environment, or put an "
        "on-demand environment second in the queue."
    ),
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "no compute environment of the queue may grow to what the job asks for. Ask for "
        "fewer vCPUs with @batch(cpu=...), or raise max_vcpus."
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "no instance type of the queue is large enough for the job. Ask for less with "
        "@batch(cpu=..., memory=..., gpu=...), or add a larger instance type."
    ),
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": (
        "EC2 refuses the configuration of the machines: an instance type that the region "
        "or zone has not, or an AMI of another architecture. Compare instance_types, "
        "subnets and the AMI of the compute environment."
    ),
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": (
        "the service role of the compute environment lacks a permission. Use the "
        "service-linked role AWSServiceRoleForBatch."
    ),
    "ACTION_REQUIRED": (
        "every compute environment of the queue is invalid. Look at their status reason "
        "in the Batch console, and put it right; no wait will help."
    ),
    "UNDETERMINED": (
        "Batch sees that the queue is blocked and cannot say why. The usual causes: no "
        "route from the subnets to ECS, an instance role without "
        "AmazonEC2ContainerServiceforEC2Role, an AMI without the ECS agent."
    ),
}
QUOTA_SIGNS = (
    "vcpu limit",
    "vcpulimitexceeded",
    "maxspotinstancecountexceeded",
    "quota",
)


@dataclass(frozen=True)
class InstanceSize:
    """What one machine of a type has. ECS itself keeps about 5 % of the memory."""

    vcpus: int
    memory_mib: int
    gpus: int


def why_waiting(
    job: Described,
    queue: Described | None,
    environments: Sequence[Described],
    sizes: Mapping[str, InstanceSize] | None = None,
    ahead: int = 0,
) -> str:
    """One sentence on what the job waits for, and what to do if waiting will not help.

    Args:
        job: an entry of DescribeJobs.
        queue: its entry of DescribeJobQueues, None if there was none.
        environments: the queue's entries of DescribeComputeEnvironments.
        sizes: of the instance types that the environments name; unknown ones are taken to fit.
        ahead: how many RUNNABLE jobs of the queue were submitted before this one.
    """
    return next(_reasons(job, queue, environments, sizes or {}, ahead))


def _reasons(
    job: Described,
    queue: Described | None,
    environments: Sequence[Described],
    sizes: Mapping[str, InstanceSize],
    ahead: int,
) -> Iterator[str]:
    """From the surest to the most general; the first one is told."""
    if queue is None:
        yield f"its queue {_name(job['jobQueue'])} no longer exists. Cancel the job."
        return
    name = queue["jobQueueName"]
    if queue["state"] != "ENABLED":
        yield f"queue {name} is disabled. Enable it: no job of it starts."
    if queue["status"] == "INVALID":
        yield f"queue {name} is invalid: {queue.get('statusReason', 'no reason given')}."
    yield from _unusable(name, environments)
    usable = [e for e in environments if _is_usable(e)]
    yield from _code(job)
    yield from _too_large(job, usable, sizes)
    yield from _quota(usable)
    if ahead:
        jobs = "1 job is" if ahead == 1 else f"{ahead} jobs are"
        yield f"{jobs} before it in queue {name}. It starts when they have."
    yield from _full(job, usable)
    yield (
        f"queue {name} is starting a machine for it: 2 to 5 minutes for a first job, "
        "most of it the download of the image."
    )


def _is_usable(environment: Described) -> bool:
    return (environment["state"], environment["status"]) == ("ENABLED", "VALID")


def _unusable(queue: str, environments: Sequence[Described]) -> Iterator[str]:
    if not environments:
        yield f"queue {queue} has no compute environment. Attach one."
    if any(_is_usable(environment) for environment in environments):
        return
    for environment in environments:
        name = environment["computeEnvironmentName"]
        if environment["state"] != "ENABLED":
            yield f"compute environment {name} is disabled. Enable it."
        elif environment["status"] == "INVALID":
            reason = environment.get("statusReason", "no reason given")
            yield f"compute environment {name} is invalid: {reason}. Put this right."
        else:
            yield f"compute environment {name} is {environment['status']}. Wait until it is VALID."


def _code(job: Described) -> Iterator[str]:
    """What Batch itself says, in our words and with its own after them."""
    reason = job.get("statusReason") or ""
    for code, advice in ADVICE.items():
        if reason.startswith(code):
            yield f"{advice} (AWS Batch: {reason})"


def _required(job: Described, kind: str) -> float:
    for item in job.get("container", {}).get("resourceRequirements") or []:
        if item["type"] == kind:
            return float(item["value"])
    return 0.0


def _most(environment: Described) -> float:
    return float(environment.get("computeResources", {}).get("maxvCpus", "inf"))


def _too_large(
    job: Described, environments: Sequence[Described], sizes: Mapping[str, InstanceSize]
) -> Iterator[str]:
    vcpus = _required(job, "VCPU")
    most = max(_most(environment) for environment in environments)
    if vcpus > most:
        yield (
            f"it asks for {vcpus:g} vCPUs, and its queue may grow to {most:g}. "
            "Ask for fewer with @batch(cpu=...), or raise max_vcpus."
        )
    types = {
        name
        for environment in environments
        for name in environment.get("computeResources", {}).get("instanceTypes", [])
    }
    if not types or not types <= set(sizes):
        return  # a family such as "g5", or "optimal": Batch chooses the size
    for kind, unit, field in (
        ("VCPU", "vCPUs", "vcpus"),
        ("MEMORY", "MiB of memory", "memory_mib"),
        ("GPU", "GPUs", "gpus"),
    ):
        largest: int = max(getattr(sizes[name], field) for name in types)
        if _required(job, kind) > largest:
            yield (
                f"it asks for {_required(job, kind):g} {unit}, and the largest machine "
                f"of its queue ({', '.join(sorted(types))}) has {largest:g}. Ask for "
                "less with @batch, or add a larger instance type."
            )


def _quota(environments: Sequence[Described]) -> Iterator[str]:
    for environment in environments:
        said = (environment.get("statusReason") or "").lower()
        if any(sign in said for sign in QUOTA_SIGNS):
            kind = environment.get("computeResources", {}).get("type", "")
            of = "spot instances" if kind == "SPOT" else "on-demand instances"
            yield (
                f"the account's quota of vCPUs for {of} is used up. Ask for more in "
                "Service Quotas (EC2, 'G and VT'); it takes hours to days. "
                f"(AWS: {environment['statusReason']})"
            )


def _full(job: Described, environments: Sequence[Described]) -> Iterator[str]:
    vcpus = _required(job, "VCPU")
    used = [
        (float(e.get("computeResources", {}).get("desiredvCpus", 0)), _most(e))
        for e in environments
    ]
    if all(desired + vcpus > most for desired, most in used):
        busy, most = (sum(column) for column in zip(*used, strict=True))
        yield (
            f"{busy:g} of the queue's {most:g} vCPUs are in use, and it needs {vcpus:g}. "
            "It starts when another job ends; raise max_vcpus to start it sooner."
        )


def _name(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
