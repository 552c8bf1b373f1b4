import pytest

from packages.local_aws.src.retry_strategy import asks_for_retry, attempts_allowed

HOST_GONE = "Host EC2 (instance i-0abc) terminated."


@pytest.mark.parametrize(
    ("strategy", "attempts"),
    [(None, 1), ({}, 1), ({"attempts": 3}, 3), ({"attempts": 99}, 10)],
)
def test_attempts_are_one_to_ten(strategy, attempts):
    assert attempts_allowed(strategy) == attempts


def test_without_a_rule_that_matches_the_job_is_tried_again():
    rules = {"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]}

    assert asks_for_retry(rules, 75, "", "Essential container in task exited")
    assert not asks_for_retry(rules, 1, "", "Essential container in task exited")


def test_the_first_rule_that_matches_decides():
    # The example of "Automated job retries": only lost hosts are tried again.
    rules = {
        "evaluateOnExit": [
            {"onStatusReason": "Host EC2*", "action": "retry"},
            {"onReason": "*", "action": "EXIT"},
        ]
    }

    assert asks_for_retry(rules, None, "", HOST_GONE)
    assert not asks_for_retry(rules, 1, "", "Essential container in task exited")


def test_a_rule_on_the_exit_code_needs_one():
    rules = {"evaluateOnExit": [{"onExitCode": "*", "action": "EXIT"}]}

    assert asks_for_retry(rules, None, "", HOST_GONE)
    assert not asks_for_retry(rules, 137, "", "Essential container in task exited")
