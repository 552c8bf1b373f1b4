"""How far a training is: a bar with the time left in a terminal, plain lines in a log."""

import logging
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

from packages.qwen_ft.src.terminal_progress import leave_progress

log = logging.getLogger(__name__)


class TrainingProgress(TrainerCallback):  # type: ignore[misc]
    """Shows steps, loss, exact perplexity and time left; inside a flow, its parent draws the bar.

    Args:
        console: where a bar goes; None takes standard error. No terminal there: log lines.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task: Any = None
        self._began = 0.0
        self._began_at = 0
        self._perplexity: float | None = None
        self._loss: float | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, **kwargs: Any
    ) -> None:
        self._began, self._began_at = time.perf_counter(), state.global_step
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(
            "training", total=state.max_steps, completed=state.global_step, numbers=""
        )
        self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        leave_progress("training", state.global_step, state.max_steps, self._numbers())
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        **kw: Any,
    ) -> None:
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        self._perplexity = logs.get("eval_perplexity", self._perplexity)
        if "loss" not in logs and "eval_perplexity" not in logs:
            return
        if self._bar is not None:
            self._bar.update(self._task, numbers=self._numbers())
        elif "eval_perplexity" in logs:
            log.info(
                "step %d/%d: %s%s",
                state.global_step,
                state.max_steps,
                self._numbers(),
                self._left(state),
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _numbers(self) -> str:
        parts = []
        if self._loss is not None:
            parts.append(f"loss {self._loss:.3f}")
        if self._perplexity is not None:
            parts.append(f"validation perplexity {self._perplexity:.3f}")
        return ", ".join(parts)

    def _left(self, state: Any) -> str:
        done = state.global_step - self._began_at
        if done <= 0 or state.global_step >= state.max_steps:
            return ""
        seconds = (
            (time.perf_counter() - self._began)
            / done
            * (state.max_steps - state.global_step)
        )
        return f", {int(seconds) // 60}:{int(seconds) % 60:02d} left"
