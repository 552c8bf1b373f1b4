"""Judge policy documents by AWS's rule: an explicit Deny wins, then an Allow is needed, else it is denied.

Small on purpose: what the documents of infra/ use, and an error for everything else, so that nothing is
passed over in silence. moto cannot do it (its Deny with a condition it does not know denies always).
Source: AWS IAM user guide, "Policy evaluation logic" and "Condition operators".
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


def is_allowed(
    action: str,
    resource: str,
    context: Mapping[str, str],
    identity: Iterable[Statement],
    on_resource: Iterable[Statement] = (),
) -> bool:
    """Whether a role with the statements `identity` may do `action` on `resource`, in one account.

    Args:
        context: condition keys of the request; a missing key is one that AWS would not send.
        on_resource: the resource's own policy. Only its Deny counts here: none of ours allows.
    """
    effects = {s["Effect"] for s in identity if applies(s, action, resource, context)}
    denials = {
        s["Effect"] for s in on_resource if applies(s, action, resource, context)
    }
    return "Deny" not in effects | denials and "Allow" in effects


def applies(
    statement: Statement, action: str, resource: str, context: Mapping[str, str]
) -> bool:
    """Whether every part of a statement matches the request."""
    unknown = statement.keys() - {
        "Sid",
        "Effect",
        "Principal",
        "Action",
        "Resource",
        "Condition",
    }
    if unknown:
        raise NotImplementedError(
            f"a statement has {sorted(unknown)}, which this evaluator does not judge"
        )
    return (
        any(
            matches(pattern.lower(), action.lower())
            for pattern in listed(statement["Action"])
        )
        and any(matches(pattern, resource) for pattern in listed(statement["Resource"]))
        and all(
            holds(operator, key, listed(expected), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def holds(
    operator: str, key: str, expected: list[str], context: Mapping[str, str]
) -> bool:
    """One condition; a key that the request lacks fails a positive test and passes a negative one."""
    found = context.get(key)
    if operator == "Null":
        return (found is None) == (expected == ["true"])
    if operator in ("StringEquals", "Bool"):
        return found in expected
    if operator == "ArnNotEquals":
        return found is None or not any(matches(pattern, found) for pattern in expected)
    raise NotImplementedError(f"condition operator {operator}")


def matches(pattern: str, value: str) -> bool:
    """IAM's wildcards: * and ?, and no others ([ is itself)."""
    return (
        re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), value) is not None
    )


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
