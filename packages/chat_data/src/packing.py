"""Documents of different lengths into rows of one capacity, with as little padding as can be had cheaply."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of document indices by best-fit decreasing: each document goes where it leaves the least room.

    Never more than 11/9 of the fewest possible rows plus one (Johnson 1973). O(n log capacity); ties go to the
    lowest index, so the result depends on the lengths alone.

    Args:
        lengths: tokens of each document, each between 1 and `capacity`.
        capacity: tokens of a row.

    Raises:
        ValueError: a document is empty or longer than a row.
    """
    for index, length in enumerate(lengths):
        if not 1 <= length <= capacity:
            raise ValueError(
                f"document {index} has {length:,} tokens. Expected 1 to {capacity:,}: chunk it first."
            )
    rows: list[list[int]] = []
    # The rows by the room they have left, and the distinct amounts of room in order.
    open_rows: dict[int, list[int]] = {}
    rooms: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[index]
        place = bisect_left(rooms, length)
        if place == len(rooms):
            row, room = len(rows), capacity
            rows.append([])
        else:
            room = rooms[place]
            row = open_rows[room].pop()
            if not open_rows[room]:
                del open_rows[room]
                del rooms[place]
        rows[row].append(index)
        left = room - length
        if left:
            if left not in open_rows:
                open_rows[left] = []
                insort(rooms, left)
            open_rows[left].append(row)
    return rows


def efficiency(
    rows: Sequence[Sequence[int]], lengths: Sequence[int], capacity: int
) -> float:
    """Share of the row tokens that hold documents, 0 to 1."""
    if not rows:
        return 0.0
    return sum(lengths[index] for row in rows for index in row) / (len(rows) * capacity)
