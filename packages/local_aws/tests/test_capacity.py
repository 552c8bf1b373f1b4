from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from packages.local_aws.src.capacity import (
    NO_ENVIRONMENT,
    TOO_LARGE,
    Capacity,
    why_blocked,
)


def environment(vcpus, state="ENABLED", arn="ce"):
    return SimpleNamespace(arn=arn, state=state, compute_resources={"maxvCpus": vcpus})


@dataclass(eq=False)
class FakeJob:
    vcpus: float
    job_queue: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(environments=[environment(4)])
    )


def test_a_job_waits_until_there_is_room():
    capacity, queue = Capacity(), SimpleNamespace(environments=[environment(4)])
    first, second = FakeJob(4, queue), FakeJob(1, queue)
    capacity.line_up(first)
    capacity.line_up(second)

    taken = capacity.take(first)

    assert taken is queue.environments[0]
    assert capacity.take(second) is None
    capacity.give_back(taken, first.vcpus)
    assert capacity.take(second) is taken


def test_the_head_of_a_queue_blocks_those_behind_it():
    capacity, queue = Capacity(), SimpleNamespace(environments=[environment(4)])
    large, small = FakeJob(8, queue), FakeJob(1, queue)
    capacity.line_up(large)
    capacity.line_up(small)

    assert capacity.take(small) is None
    capacity.leave(large)
    assert capacity.take(small) is not None


def test_queues_do_not_block_each_other():
    capacity = Capacity()
    large = FakeJob(8)
    small = FakeJob(1, SimpleNamespace(environments=[environment(4, arn="other")]))
    capacity.line_up(large)
    capacity.line_up(small)

    assert capacity.take(small) is not None


def test_the_second_environment_takes_what_the_first_cannot():
    spot, on_demand = environment(2, arn="spot"), environment(8, arn="on-demand")
    capacity = Capacity()
    job = FakeJob(4, SimpleNamespace(environments=[spot, on_demand]))
    capacity.line_up(job)

    assert capacity.take(job) is on_demand


@pytest.mark.parametrize(
    ("environments", "reason"),
    [
        ([environment(4)], None),
        ([environment(1)], TOO_LARGE),
        ([environment(1), environment(4)], None),
        ([environment(4, "DISABLED")], NO_ENVIRONMENT),
    ],
)
def test_what_no_wait_will_help_is_named(environments, reason):
    assert why_blocked(FakeJob(2, SimpleNamespace(environments=environments))) == reason
