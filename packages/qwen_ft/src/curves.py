"""Collects the curves of a training while it runs: a callback of transformers' Trainer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from packages.qwen_ft.src.trained_adapter import CurvePoint

if TYPE_CHECKING:
    from packages.qwen_ft.src.adapter_trainer import AdapterTrainer

OnProgress = Callable[[tuple[CurvePoint, ...]], None]


class CurveRecorder(TrainerCallback):  # type: ignore[misc]
    """One CurvePoint per step that was logged or evaluated.

    Args:
        on_progress: called with all points so far after each new one, to refresh a live card.
    """

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self.points: dict[int, CurvePoint] = {}
        self.trainer: AdapterTrainer | None = None
        self._on_progress = on_progress
        self._step_began = 0.0
        self._seconds = 0.0
        self._tokens_before = 0
        self.train_seconds = 0.0

    @property
    def curves(self) -> tuple[CurvePoint, ...]:
        return tuple(self.points[step] for step in sorted(self.points))

    def on_train_begin(
        self, args: Any, state: Any, control: Any, **kwargs: Any
    ) -> None:
        """Take over the points of the run that this one goes on from; speeds are not kept."""
        for entry in state.log_history:
            self._add(int(entry["step"]), entry)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        seconds = time.perf_counter() - self._step_began
        self._seconds += seconds
        self.train_seconds += seconds

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        **kw: Any,
    ) -> None:
        if self._add(state.global_step, logs or {}) and self._on_progress is not None:
            self._on_progress(self.curves)

    def _add(self, step: int, logs: Mapping[str, Any]) -> bool:
        point = self.points.get(step, CurvePoint(step))
        if "loss" in logs:
            point = replace(
                point,
                train_loss=logs["loss"],
                learning_rate=logs.get("learning_rate"),
                grad_norm=logs.get("grad_norm"),
                tokens_per_s=self._speed(),
            )
        elif "eval_perplexity" in logs:
            point = replace(point, validation_perplexity=logs["eval_perplexity"])
        else:
            return False
        self.points[step] = point
        return True

    def _speed(self) -> float | None:
        """Input tokens per second of training since the last call."""
        seen = self.trainer.tokens_seen if self.trainer is not None else 0
        speed = (
            (seen - self._tokens_before) / self._seconds if self._seconds > 0 else None
        )
        self._tokens_before, self._seconds = seen, 0.0
        return speed
