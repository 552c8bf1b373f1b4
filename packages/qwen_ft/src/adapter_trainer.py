"""transformers' Trainer with exact perplexity in place of its mean of batch means."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback

from packages.cloud.src.exit_codes import EX_DATAERR, UserError
from packages.qwen_ft.src.document_nll import score_documents
from packages.qwen_ft.src.document_rows import TokenRow
from packages.qwen_ft.src.master_weights import MasterWeights, ParamGroups

log = logging.getLogger(__name__)


class NonFiniteLoss(UserError):
    """The loss or a gradient became NaN or infinite; training has stopped there."""


class AdapterTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose `evaluate` is exact, and whose optimizer may keep float32 masters.

    Args:
        eval_dataset: the documents behind each perplexity, a sequence; never batched by Trainer.
        scoring: batch_size, window_tokens and stride_tokens of `score_documents`.
        masters: keep float32 masters of the adapter's weights.
    """

    control: Any
    optimizer: Any

    def __init__(
        self, *, scoring: dict[str, int], masters: bool, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.scoring = scoring
        self.masters = masters
        self.tokens_seen = 0

    def evaluate(
        self,
        eval_dataset: Sequence[TokenRow] | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Exact perplexity of the documents; logged, and returned with loss, tokens and runtime."""
        documents = self.eval_dataset if eval_dataset is None else eval_dataset
        started = time.perf_counter()
        scores = score_documents(self.model, documents, **self.scoring)
        found = {
            "loss": math.fsum(scores.nats) / max(sum(scores.tokens), 1),
            "perplexity": scores.perplexity,
            "documents": len(documents),
            "scored_tokens": sum(scores.tokens),
            "runtime": round(time.perf_counter() - started, 3),
        }
        metrics = {
            f"{metric_key_prefix}_{name}": value for name, value in found.items()
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The configured optimizer, over float32 masters if asked for."""
        if not self.masters:
            plain: torch.optim.Optimizer = super().create_optimizer(model)
            return plain
        if self.optimizer is None:
            trained = self.model if model is None else model
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, trained)
            names = set(self.get_decay_parameter_names(trained))
            groups: ParamGroups = [
                {
                    "params": [
                        parameter
                        for name, parameter in trained.named_parameters()
                        if parameter.requires_grad and (name in names) == decays
                    ],
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for decays in (True, False)
            ]
            self.optimizer = MasterWeights(
                [group for group in groups if group["params"]],
                lambda masters: kind(masters, **settings),
            )
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any
    ) -> torch.Tensor:
        """One forward and backward pass; stops at a loss that is not finite."""
        mask = inputs.get("attention_mask")
        self.tokens_seen += (
            inputs["input_ids"].numel() if mask is None else int(mask.sum())
        )
        loss: torch.Tensor = super().training_step(model, inputs, *args)
        # Reading the loss waits for the GPU, so there it is read when it is logged.
        if loss.device.type == "cpu" and not loss.isfinite():
            raise NonFiniteLoss(self._why_not_finite("loss", loss.item()), EX_DATAERR)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        for name in ("loss", "grad_norm"):
            if name in logs and not math.isfinite(logs[name]):
                raise NonFiniteLoss(self._why_not_finite(name, logs[name]), EX_DATAERR)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        """Trainer's loading, with number formats kept: peft widens what it loads to float32."""
        target = self.model if model is None else model
        formats = {
            name: p.dtype for name, p in target.named_parameters() if p.requires_grad
        }
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, parameter in target.named_parameters():
            if name in formats:
                parameter.data = parameter.data.to(formats[name])

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: Trainer's count walks all parameters at every step."""
        return 0

    def _why_not_finite(self, what: str, value: float) -> str:
        found = f"The {what} is {value} after {self.state.global_step} optimizer steps"
        broken = [n for n, p in self.model.named_parameters() if not _finite(p)]
        adapter = [name for name in broken if "lora_" in name]
        if adapter:
            return (
                f"{found}: {len(adapter)} adapter weights are no longer finite (first "
                f"{adapter[0]}). The steps were too large: lower training.learning_rate (now "
                f"{self.args.learning_rate:g}) or training.max_grad_norm "
                f"({self.args.max_grad_norm:g})."
            )
        if broken:
            return (
                f"{found}: the base model has weights that are not finite (first {broken[0]}). "
                "Load intact weights: check the files of model.name."
            )
        return (
            f"{found}, while all weights are finite: numbers overflowed on the way. Use "
            "model.torch_dtype bfloat16 or float32, and lower training.learning_rate "
            f"(now {self.args.learning_rate:g})."
        )


def _finite(parameter: torch.Tensor) -> bool:
    return not parameter.is_floating_point() or bool(parameter.isfinite().all())


class EvaluateAtTheEnd(TrainerCallback):  # type: ignore[misc]
    """Measures after the last step too, where `eval_steps` does not divide the number of steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_log = True
