"""Trains one LoRA adapter on the training split, with exact perplexity of the validation split."""

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.token_shards import open_split
from packages.cloud.src.exit_codes import EX_DATAERR, UserError
from packages.cloud.src.object_store import open_store
from packages.qwen_ft.src import adapter, adapter_files
from packages.qwen_ft.src.adapter_trainer import AdapterTrainer, EvaluateAtTheEnd
from packages.qwen_ft.src.base_model import (
    BaseModelPin,
    load_base_model,
    load_tokenizer,
)
from packages.qwen_ft.src.curves import CurveRecorder, OnProgress
from packages.qwen_ft.src.document_rows import (
    DocumentRows,
    TokenRow,
    flatten_documents,
    pad_documents,
)
from packages.qwen_ft.src.preemption import Preempted, StopAtStepBoundary
from packages.qwen_ft.src.progress import TrainingProgress
from packages.qwen_ft.src.recipe import FAST, Recipe, prepare_adapted, prepare_base
from packages.qwen_ft.src.trained_adapter import CurvePoint, TrainedAdapter
from packages.qwen_ft.src.training_arguments import (
    StepPlan,
    build_training_arguments,
    plan_steps,
)

if TYPE_CHECKING:
    from packages.qwen_ft.src.config import RunConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSplits:
    """The documents a training reads."""

    train: Sequence[TokenRow]
    validation: Sequence[TokenRow]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An adapted model and what was found out while it was made."""

    model: Any
    tokenizer: Any
    flat: bool
    weight_bytes: int
    precision: str
    notes: tuple[str, ...]


def train_adapter(
    config: "RunConfig",
    base: BaseModelPin,
    tokens: TokenManifest,
    store_uri: str,
    trial: Mapping[str, Any],
    *,
    on_progress: OnProgress | None = None,
    output_dir: Path | None = None,
    recipe: Recipe = FAST,
) -> TrainedAdapter:
    """Train on `tokens`, put the adapter's files into the store, and return their names and curves.

    Args:
        trial: overrides of `config`, one entry of its `trials`.
        on_progress: called with the curves so far whenever a point is added.
        output_dir: where `checkpoint-N` folders go. If it holds one, training goes on from it.
            None: a temporary folder, gone at the end.

    Raises:
        UserError: bad settings or data (65, 78), a loss that is not finite (65), nothing to
            score (65).
        Preempted: asked to stop (75); `output_dir` then holds a checkpoint of the last step.
    """
    config = config.with_trial(trial)
    store = open_store(store_uri)
    with tempfile.TemporaryDirectory(prefix="qwen_ft-") as temporary:
        scratch = Path(temporary)
        cache = scratch / "tokens"
        validation = open_split(store, tokens.validation, cache)
        wanted = config.evaluation.validation_documents
        measured = len(validation) if wanted is None else min(wanted, len(validation))
        splits = TrainingSplits(
            train=open_split(store, tokens.train, cache),
            validation=[validation[i] for i in range(measured)],
        )
        folder = scratch / "adapter"
        trained = train_on_splits(
            config,
            base,
            splits,
            folder,
            output_dir or scratch / "run",
            on_progress,
            recipe,
        )
        files = adapter_files.store_adapter(folder, store_uri)
    return replace(
        trained, files=files, store_uri=store.uri, trial=tuple(sorted(trial.items()))
    )


def train_on_splits(
    config: "RunConfig",
    base: BaseModelPin,
    splits: TrainingSplits,
    folder: Path,
    output_dir: Path,
    on_progress: OnProgress | None = None,
    recipe: Recipe = FAST,
) -> TrainedAdapter:
    """`train_adapter` on documents in hand; the adapter is left in `folder`, not in a store."""
    _refuse_nothing_scored(splits)
    while True:
        try:
            return _train(config, base, splits, folder, output_dir, on_progress, recipe)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            smaller = _smaller_batch(config, error)
            if smaller is None:
                raise
            config = smaller


def _train(
    config: "RunConfig",
    base: BaseModelPin,
    splits: TrainingSplits,
    folder: Path,
    output_dir: Path,
    on_progress: OnProgress | None,
    recipe: Recipe,
) -> TrainedAdapter:
    began = time.perf_counter()
    plan = plan_steps(len(splits.train), config.training)
    prepared = _prepare(config, base, recipe)
    recorder, stop = CurveRecorder(on_progress), StopAtStepBoundary()
    with closing(TrainingProgress()) as progress, stop:
        trainer = _build_trainer(
            config,
            prepared,
            splits,
            plan,
            output_dir,
            recipe,
            [recorder, progress, stop],
        )
        recorder.trainer = trainer
        _announce(config, plan, splits)
        _run(trainer, output_dir, stop)
    adapter.save_adapter(
        prepared.model, prepared.tokenizer, base.name, base.revision, folder
    )
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    return _summary(config, prepared, splits, plan, folder, recorder, trainer, began)


def _prepare(config: "RunConfig", base: BaseModelPin, recipe: Recipe) -> _Prepared:
    """Seed everything, load the base, attach the adapter, switch the recipe on."""
    transformers.set_seed(config.training.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory finds reads of it, and costs 6 % of a step here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    tokenizer = load_tokenizer(base, config.model.trust_remote_code)
    loaded = load_base_model(base, config.model, config.quantization, training=True)
    flat = prepare_base(
        loaded.model,
        recipe,
        attn_implementation=config.model.attn_implementation,
        gradient_checkpointing=config.training.gradient_checkpointing,
    )
    adapted = adapter.attach_adapter(loaded.model, config.lora, config.training.seed)
    if not recipe.masters:
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    prepare_adapted(adapted, recipe)
    return _Prepared(
        adapted, tokenizer, flat, loaded.weight_bytes, loaded.precision, loaded.notes
    )


def _build_trainer(
    config: "RunConfig",
    prepared: _Prepared,
    splits: TrainingSplits,
    plan: StepPlan,
    output_dir: Path,
    recipe: Recipe,
    callbacks: list[Any],
) -> AdapterTrainer:
    pad = partial(pad_documents, pad_token_id=prepared.tokenizer.pad_token_id)
    on_cpu = prepared.model.device.type == "cpu"
    low_precision = any(
        p.requires_grad and p.dtype != torch.float32
        for p in prepared.model.parameters()
    )
    trainer = AdapterTrainer(
        model=prepared.model,
        args=build_training_arguments(config.training, plan, output_dir, on_cpu=on_cpu),
        train_dataset=DocumentRows(splits.train),
        eval_dataset=splits.validation,
        data_collator=flatten_documents if prepared.flat else pad,
        callbacks=[EvaluateAtTheEnd(), *callbacks],
        scoring={
            "batch_size": config.evaluation.batch_size,
            "window_tokens": config.evaluation.window_tokens,
            "stride_tokens": config.evaluation.stride_tokens,
        },
        masters=recipe.masters and low_precision,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _announce(config: "RunConfig", plan: StepPlan, splits: TrainingSplits) -> None:
    log.info(
        "training: %d documents, effective batch %d x %d = %d, %d steps, learning rate %g",
        plan.rows,
        config.training.per_device_train_batch_size,
        config.training.gradient_accumulation_steps,
        plan.effective_batch,
        plan.steps,
        config.training.learning_rate,
    )
    log.info(
        "validation perplexity: exact, over the first %d documents of the validation split",
        len(splits.validation),
    )


def _run(trainer: AdapterTrainer, output_dir: Path, stop: StopAtStepBoundary) -> None:
    """Train to the last step, from the last checkpoint in `output_dir` if there is one."""
    checkpoint = get_last_checkpoint(str(output_dir)) if output_dir.is_dir() else None
    if checkpoint is not None:
        log.info("going on from %s", Path(checkpoint).name)
        trainer.args.eval_on_start = False  # measured by the run that was cut short
    trainer.train(resume_from_checkpoint=checkpoint)
    done, planned = trainer.state.global_step, trainer.state.max_steps
    if done == planned:
        return
    if stop.asked:
        raise Preempted(
            f"Training was asked to stop and did so after step {done} of {planned}. Start again: "
            "with the same output folder it goes on from there, else from the beginning."
        )
    raise RuntimeError(f"Training ended at step {done} of {planned} without a reason.")


def _summary(
    config: "RunConfig",
    prepared: _Prepared,
    splits: TrainingSplits,
    plan: StepPlan,
    folder: Path,
    recorder: CurveRecorder,
    trainer: AdapterTrainer,
    began: float,
) -> TrainedAdapter:
    trainable, total = adapter.count_parameters(prepared.model)
    measured = [p for p in recorder.curves if p.validation_perplexity is not None]
    tokens = [
        e["eval_scored_tokens"] for e in trainer.state.log_history if "eval_loss" in e
    ]
    return TrainedAdapter(
        files=(),
        store_uri="",
        adapter_sha256=adapter_files.adapter_sha256(folder),
        trial=(),
        curves=recorder.curves,
        trainable_parameters=trainable,
        total_parameters=total,
        first_perplexity=_perplexity(measured[0]),
        last_perplexity=_perplexity(measured[-1]),
        validation_documents=len(splits.validation),
        validation_tokens=int(tokens[-1]),
        steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0.0),
        effective_batch=plan.effective_batch,
        train_tokens=trainer.tokens_seen,
        seconds=time.perf_counter() - began,
        train_seconds=recorder.train_seconds,
        weight_bytes=prepared.weight_bytes,
        precision=prepared.precision,
        notes=prepared.notes + _batch_note(config),
    )


def _perplexity(point: CurvePoint) -> float:
    assert point.validation_perplexity is not None
    return point.validation_perplexity


def _batch_note(config: "RunConfig") -> tuple[str, ...]:
    if not config.training.auto_find_batch_size:
        return ()
    return (
        f"batch of {config.training.per_device_train_batch_size} fits "
        f"({config.training.gradient_accumulation_steps} accumulated)",
    )


def _smaller_batch(config: "RunConfig", error: BaseException) -> "RunConfig | None":
    """Half the batch and twice the accumulation, if memory ran out and the settings allow it."""
    batch = config.training.per_device_train_batch_size
    full = isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
    if not (full and config.training.auto_find_batch_size and batch > 1):
        return None
    log.warning("a batch of %d does not fit into memory: trying %d", batch, batch // 2)
    return config.with_trial(
        {
            "training.per_device_train_batch_size": batch // 2,
            "training.gradient_accumulation_steps": config.training.gradient_accumulation_steps
            * 2,
        }
    )


def _refuse_nothing_scored(splits: TrainingSplits) -> None:
    for name, documents in (
        ("training", splits.train),
        ("validation", splits.validation),
    ):
        if not any(documents[i].scored[1:].any() for i in range(len(documents))):
            raise UserError(
                f"The {name} split has {len(documents)} documents and not one token to learn "
                "from. Conversations need an assistant turn; or set data.train_on_prompt to true.",
                EX_DATAERR,
            )
