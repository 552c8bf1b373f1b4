"""The TrainingArguments of one run; the only place that spells their keywords."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packages.cloud.src.exit_codes import EX_DATAERR, UserError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from packages.qwen_ft.src.config import TrainingSettings


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How many optimizer steps a training takes.

    Args:
        rows: training rows; one document each unless they are packed.
        effective_batch: rows per optimizer step.
        steps: ceil(rows / effective_batch) per epoch, or `max_steps`.
    """

    rows: int
    effective_batch: int
    steps: int


def plan_steps(rows: int, settings: "TrainingSettings") -> StepPlan:
    """Steps of a training over `rows`.

    Raises:
        UserError: fewer rows than one optimizer step takes (65).
    """
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    if rows < batch:
        raise UserError(
            f"The training split has {rows} documents, one optimizer step takes {batch} "
            f"(training.per_device_train_batch_size {settings.per_device_train_batch_size} x "
            f"training.gradient_accumulation_steps {settings.gradient_accumulation_steps}). Give "
            f"more data, or make their product at most {max(rows, 1)}.",
            EX_DATAERR,
        )
    per_epoch = math.ceil(rows / batch)
    steps = settings.max_steps
    if steps < 0:
        steps = math.ceil(settings.num_train_epochs * per_epoch)
    return StepPlan(rows, batch, steps)


def build_training_arguments(
    settings: "TrainingSettings", plan: StepPlan, output_dir: Path, *, on_cpu: bool
) -> "TrainingArguments":
    """Trainer's arguments; logging, evaluation and saving at the configured steps."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=math.ceil(settings.warmup_ratio * plan.steps),
        weight_decay=settings.weight_decay,
        optim=settings.optim,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        # The reentrant form gives no gradients to adapters behind a frozen embedding.
        activation_checkpointing_kwargs={"use_reentrant": False},
        logging_strategy="steps",
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        # A NaN would be replaced by an average in the log; ours stops the run instead.
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=settings.eval_steps,
        eval_on_start=True,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=on_cpu,
        dataloader_num_workers=0,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        report_to=[],
    )
