"""Describe answers made by hand, one for each reason of the AWS Batch user guide."""

import pytest

from packages.cloud.src.batch_waiting import ADVICE, InstanceSize, why_waiting

SIZES = {"g5.xlarge": InstanceSize(vcpus=4, memory_mib=16_384, gpus=1)}


def job(reason=None, **required):
    needs = {"VCPU": 4, "MEMORY": 15_000, "GPU": 1, **required}
    return {
        "jobQueue": "arn:aws:batch:eu-west-1:1:job-queue/gpu",
        "status": "RUNNABLE",
        "statusReason": reason,
        "container": {
            "resourceRequirements": [
                {"type": kind, "value": str(value)} for kind, value in needs.items()
            ]
        },
    }


def queue(**changed):
    return {"jobQueueName": "gpu", "state": "ENABLED", "status": "VALID", **changed}


def environment(name="spot", most=16, desired=0, kind="SPOT", **changed):
    return {
        "computeEnvironmentName": name,
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "computeResources": {
            "type": kind,
            "maxvCpus": most,
            "desiredvCpus": desired,
            "instanceTypes": ["g5.xlarge"],
        },
        **changed,
    }


CASES = {
    "starting": (job(), queue(), [environment()], "starting a machine"),
    "queue gone": (job(), None, [], "gpu no longer exists"),
    "queue disabled": (job(), queue(state="DISABLED"), [], "queue gpu is disabled"),
    "queue invalid": (
        job(),
        queue(status="INVALID", statusReason="no role"),
        [environment()],
        "queue gpu is invalid: no role",
    ),
    "no environment": (job(), queue(), [], "has no compute environment"),
    "environment disabled": (
        job(),
        queue(),
        [environment(state="DISABLED")],
        "environment spot is disabled",
    ),
    "environment invalid": (
        job(),
        queue(),
        [environment(status="INVALID", statusReason="CLIENT_ERROR - no such subnet")],
        "spot is invalid: CLIENT_ERROR - no such subnet",
    ),
    "environment in change": (
        job(),
        queue(),
        [environment(status="UPDATING")],
        "spot is UPDATING",
    ),
    "more vCPUs than the queue": (
        job(VCPU=32),
        queue(),
        [environment()],
        "asks for 32 vCPUs, and its queue may grow to 16",
    ),
    "more vCPUs than a machine": (
        job(VCPU=8),
        queue(),
        [environment()],
        "8 vCPUs, and the largest machine of its queue (g5.xlarge) has 4",
    ),
    "more memory than a machine": (
        job(MEMORY=60_000),
        queue(),
        [environment()],
        "60000 MiB of memory, and the largest machine of its queue (g5.xlarge) has 16384",
    ),
    "more GPUs than a machine": (job(GPU=4), queue(), [environment()], "asks for 4 GPUs"),
    "spot quota": (
        job(),
        queue(),
        [environment(statusReason="MaxSpotInstanceCountExceeded")],
        "quota of vCPUs for spot instances",
    ),
    "on-demand quota": (
        job(),
        queue(),
        [environment(kind="EC2", statusReason="You have requested more vCPU capacity "
        "than your current vCPU limit of 0 allows")],
        "quota of vCPUs for on-demand instances",
    ),
    "full": (
        job(),
        queue(),
        [environment(desired=16)],
        "16 of the queue's 16 vCPUs are in use, and it needs 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_the_describe_calls_say_becomes_a_sentence(case):
    asked, of, environments, words = CASES[case]

    assert words in why_waiting(asked, of, environments, SIZES)


@pytest.mark.parametrize("code", ADVICE)
def test_each_documented_code_has_advice_of_its_own(code):
    said = f"{code} - as AWS words it."

    sentence = why_waiting(job(said), queue(), [environment()], SIZES)

    assert sentence == f"{ADVICE[code]} (AWS Batch: {said})"
    assert len(set(ADVICE.values())) == len(ADVICE)


@pytest.mark.parametrize(("ahead", "words"), [(1, "1 job is"), (3, "3 jobs are")])
def test_a_job_may_only_wait_for_its_turn(ahead, words):
    sentence = why_waiting(job(), queue(), [environment()], SIZES, ahead)

    assert sentence == f"{words} before it in queue gpu. It starts when they have."


def test_one_environment_that_works_is_enough():
    environments = [environment(state="DISABLED"), environment("on-demand", kind="EC2")]

    assert "starting a machine" in why_waiting(job(), queue(), environments, SIZES)


def test_a_family_of_instances_is_left_to_batch():
    wide = environment()
    wide["computeResources"] = {**wide["computeResources"], "instanceTypes": ["g5"]}

    assert "starting a machine" in why_waiting(job(VCPU=8), queue(), [wide], SIZES)
