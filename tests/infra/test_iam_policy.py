"""The evaluator of policies, on cases worked by hand from AWS's documentation."""

import pytest

from tests.infra.iam_policy import is_allowed, matches

ALLOW = {
    "Effect": "Allow",
    "Action": ["s3:GetObject"],
    "Resource": ["arn:aws:s3:::b/*"],
}
OBJECT = "arn:aws:s3:::b/k"


def test_nothing_is_allowed_by_default_and_a_deny_wins():
    deny = ALLOW | {"Effect": "Deny"}

    assert not is_allowed("s3:GetObject", OBJECT, {}, [])
    assert is_allowed("s3:GetObject", OBJECT, {}, [ALLOW])
    assert not is_allowed("s3:GetObject", OBJECT, {}, [ALLOW, deny])
    assert not is_allowed("s3:GetObject", OBJECT, {}, [ALLOW], [deny])


def test_a_resource_policy_that_allows_is_not_counted():
    assert not is_allowed("s3:GetObject", OBJECT, {}, [], [ALLOW])


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "v"}, False),
        ({"Null": {"k": "false"}}, {"k": "v"}, True),
        ({"StringEquals": {"k": ["a", "b"]}}, {"k": "b"}, True),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"Bool": {"k": "false"}}, {"k": "false"}, True),
        ({"ArnNotEquals": {"k": ["arn:1"]}}, {"k": "arn:1"}, False),
        ({"ArnNotEquals": {"k": ["arn:1"]}}, {"k": "arn:2"}, True),
        ({"ArnNotEquals": {"k": ["arn:1"]}}, {}, True),
        (
            {"StringEquals": {"k": "a"}, "Null": {"l": "true"}},
            {"k": "a", "l": "x"},
            False,
        ),
    ],
)
def test_conditions(condition, context, holds):
    statement = ALLOW | {"Condition": condition}

    assert is_allowed("s3:GetObject", OBJECT, context, [statement]) is holds


def test_wildcards_are_those_of_iam():
    assert matches(
        "arn:aws:s3:::b/*/manifest.json", "arn:aws:s3:::b/qwen/v1.0/manifest.json"
    )
    assert not matches("arn:aws:s3:::b/*", "arn:aws:s3:::bb/k")
    assert matches("a[b]", "a[b]") and not matches("a[b]", "ab")


def test_what_it_cannot_judge_is_an_error():
    with pytest.raises(NotImplementedError, match="NotAction"):
        is_allowed("s3:GetObject", OBJECT, {}, [ALLOW | {"NotAction": []}])
    with pytest.raises(NotImplementedError, match="IpAddress"):
        is_allowed(
            "s3:GetObject",
            OBJECT,
            {},
            [ALLOW | {"Condition": {"IpAddress": {"k": "v"}}}],
        )
