"""Stops a training at the next step boundary when its machine is about to go."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from packages.cloud.src.exit_codes import EX_TEMPFAIL, UserError

log = logging.getLogger(__name__)


class Preempted(UserError):
    """Training stopped early and can go on from its last checkpoint. Exit code 75: try again."""

    def __init__(self, message: str, exit_code: int = EX_TEMPFAIL) -> None:
        super().__init__(message, exit_code)


class StopAtStepBoundary(TrainerCallback):  # type: ignore[misc]
    """On SIGTERM: finish the step, save a checkpoint, stop. The signal only sets a flag."""

    def __init__(self) -> None:
        self.asked = False
        self._former: Any = None

    def __enter__(self) -> "StopAtStepBoundary":
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.asked and state.global_step < state.max_steps:
            log.warning(
                "asked to stop: saving at step %d of %d",
                state.global_step,
                state.max_steps,
            )
            control.should_save = True
            control.should_training_stop = True
