"""Whether AWS Batch would start another attempt of a job."""

from collections.abc import Mapping
from typing import Any

MOST_ATTEMPTS = 10


def attempts_allowed(strategy: Mapping[str, Any] | None) -> int:
    """How often a job may run, 1 to 10; 1 when nothing is said."""
    return min(max(int((strategy or {}).get("attempts") or 1), 1), MOST_ATTEMPTS)


def asks_for_retry(
    strategy: Mapping[str, Any] | None,
    exit_code: int | None,
    reason: str,
    status_reason: str,
) -> bool:
    """The action of the first `evaluateOnExit` rule that matches; retry when none does.

    A rule matches when all of its patterns do; a pattern may end with `*`. A rule with
    `onExitCode` matches no attempt that has no exit code.
    """
    for rule in (strategy or {}).get("evaluateOnExit") or []:
        code = rule.get("onExitCode")
        if code and (exit_code is None or not _matches(code, str(exit_code))):
            continue
        if _matches(rule.get("onReason"), reason) and _matches(
            rule.get("onStatusReason"), status_reason
        ):
            return str(rule["action"]).upper() == "RETRY"
    return True


def _matches(pattern: str | None, value: str) -> bool:
    if not pattern:
        return True
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern
