"""How much memory a process and its descendants hold (Linux; nothing is known elsewhere)."""

import os
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> list[int]:
    """The process ids below `pid`, without itself."""
    found: list[int] = []
    queue = [pid]
    while queue:
        for listed in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            try:
                children = [int(child) for child in listed.read_text().split()]
            except OSError:  # the thread ended while we looked
                continue
            found += children
            queue += children
    return found


def resident_bytes(pid: int) -> dict[int, tuple[int, int]]:
    """Per descendant of `pid`: (private, shared) resident bytes, from /proc/N/statm."""
    sizes = {}
    for descendant in _descendants(pid):
        try:
            fields = Path(f"/proc/{descendant}/statm").read_text().split()
        except OSError:
            continue
        resident, shared = (int(field) * PAGE_BYTES for field in fields[1:3])
        sizes[descendant] = (resident - shared, shared)
    return sizes


def total_bytes(sizes: dict[int, tuple[int, int]]) -> int:
    """What a control group would be charged: private pages, and shared pages once."""
    private = sum(size for size, _ in sizes.values())
    return private + max((shared for _, shared in sizes.values()), default=0)
