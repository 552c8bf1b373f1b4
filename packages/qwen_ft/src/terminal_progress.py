"""A progress bar with the time left, drawn by the flow's parent process for the step that works.

A step's output is a pipe to its parent, so the step cannot draw. It leaves how far it is in a small
file; the parent, if it has a terminal, draws that below the lines it prints. Without a terminal the
step's own log lines say the same.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

PROGRESS_VARIABLE = "QWEN_FT_PROGRESS"
REDRAW_S = 0.25


def leave_progress(label: str, done: int, total: int, numbers: str = "") -> None:
    """Say how far this process is, to whoever draws it; nothing where nobody does."""
    place = os.environ.get(PROGRESS_VARIABLE, "")
    if not place or not Path(place).parent.is_dir():
        return
    part = Path(f"{place}.{os.getpid()}")
    part.write_text(json.dumps([label, done, total, numbers]))
    part.replace(place)


@contextmanager
def progress_drawn(place: Path, console: Console | None = None) -> Iterator[None]:
    """Draw what `leave_progress` of child processes says at `place`, while the context lasts."""
    console = console or Console()
    if not console.is_terminal:
        yield
        return
    os.environ[PROGRESS_VARIABLE] = str(place)
    over = threading.Event()
    drawer = threading.Thread(target=_draw, args=(place, console, over), daemon=True)
    drawer.start()
    try:
        yield
    finally:
        over.set()
        drawer.join()


def _draw(place: Path, console: Console, over: threading.Event) -> None:
    while not over.wait(REDRAW_S):
        if place.exists():
            _draw_one(place, console, over)


def _draw_one(place: Path, console: Console, over: threading.Event) -> None:
    """One bar, from the first word of a step until it is through."""
    label, done, total, numbers = json.loads(place.read_text())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done, numbers=numbers)
        while done < total and not over.wait(REDRAW_S):
            now, done, total, numbers = json.loads(place.read_text())
            if now != label:
                return
            bar.update(task, completed=done, total=total, numbers=numbers)
    place.unlink(missing_ok=True)
