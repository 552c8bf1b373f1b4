"""The bar of the parent and the word of the step."""

import io
import json
import threading

from rich.console import Console

from packages.qwen_ft.src import terminal_progress
from packages.qwen_ft.src.terminal_progress import (
    PROGRESS_VARIABLE,
    leave_progress,
    progress_drawn,
)


def test_a_step_leaves_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "progress.json"))

    leave_progress("training", 3, 10, "loss 1.2")

    assert json.loads((tmp_path / "progress.json").read_text()) == [
        "training",
        3,
        10,
        "loss 1.2",
    ]


def test_without_a_parent_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)

    leave_progress("training", 3, 10)

    assert list(tmp_path.iterdir()) == []


def test_a_log_gets_no_bar_and_starts_no_thread(tmp_path, monkeypatch):
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    before = threading.active_count()

    with progress_drawn(tmp_path / "progress.json", Console(file=io.StringIO())):
        assert threading.active_count() == before


def test_a_terminal_shows_label_steps_and_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv(PROGRESS_VARIABLE, "")
    monkeypatch.setattr(terminal_progress, "REDRAW_S", 0.01)
    screen = io.StringIO()
    place = tmp_path / "progress.json"

    with progress_drawn(place, Console(file=screen, force_terminal=True, width=120)):
        leave_progress("training", 3, 10, "loss 1.2")
        drawn = threading.Event()
        while "loss 1.2" not in screen.getvalue():
            drawn.wait(0.01)
        leave_progress("training", 10, 10, "loss 1.0")
        while place.exists():
            drawn.wait(0.01)

    assert "training" in screen.getvalue() and "3/10" in screen.getvalue()
