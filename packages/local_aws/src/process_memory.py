"""How much memory a process and its descendants hold (Linux; nothing is known elsewhere)."""

import contextlib
import os
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> list[int]:
    """The process ids below `pid`, without itself."""
    found: list[int] = []
    queue = [pid]
    while queue:
        children = _children(queue.pop())
        found += children
        queue += children
    return found


def _children(pid: int) -> list[int]:
    """The process ids right below `pid`; none of a process or thread that ends while we look."""
    found: list[int] = []
    try:
        threads = os.listdir(
            f"/proc/{pid}/task"
        )  # not Path.glob: it raises when the folder goes
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError):
            listed = Path(f"/proc/{pid}/task/{thread}/children").read_text()
            found += [int(child) for child in listed.split()]
    return found


def resident_bytes(pid: int) -> dict[int, tuple[int, int]]:
    """Per descendant of `pid`: (private, shared) resident bytes, from /proc/N/statm."""
    sizes = {}
    for descendant in _descendants(pid):
        try:
            fields = Path(f"/proc/{descendant}/statm").read_text().split()
        except OSError:
            continue
        if len(fields) < 3:  # it ended while we looked
            continue
        resident, shared = (int(field) * PAGE_BYTES for field in fields[1:3])
        sizes[descendant] = (resident - shared, shared)
    return sizes


def total_bytes(sizes: dict[int, tuple[int, int]]) -> int:
    """What a control group would be charged: private pages, and shared pages once."""
    private = sum(size for size, _ in sizes.values())
    return private + max((shared for _, shared in sizes.values()), default=0)
