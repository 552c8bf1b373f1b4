"""One trial of a run as a Metaflow step: trained with a live card; and the choice among all trials."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow import current

from packages.chat_data.src.token_manifest import TokenManifest
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.cards import live_curves
from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.config_checks import check_against_device
from packages.qwen_ft.src.evaluation_report import EvaluationReport
from packages.qwen_ft.src.logs import set_up_logging
from packages.qwen_ft.src.run_store import local_cache, open_run_store
from packages.qwen_ft.src.trained_adapter import TrainedAdapter

log = logging.getLogger(__name__)


def train_trial(
    config: RunConfig,
    base: BaseModelPin,
    tokens: TokenManifest,
    trial: Mapping[str, Any],
) -> TrainedAdapter:
    """Train the adapter of `trial`; its files go into the run's store, its curves into the card."""
    from packages.qwen_ft.src.precision import capabilities_here
    from packages.qwen_ft.src.train import train_adapter

    set_up_logging(config.logging)
    check_against_device(config.with_trial(trial), capabilities_here())
    # The same folder for every attempt of this trial on this machine, so that a retry goes on.
    run = current.origin_run_id or current.run_id
    checkpoints = local_cache() / "checkpoints" / f"{run}-{current.task_id}"
    trained = train_adapter(
        config,
        base,
        tokens,
        open_run_store().uri,
        trial,
        on_progress=live_curves(current.card),
        output_dir=checkpoints,
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    log.info(
        "trained %d steps in %.1f s: validation perplexity %.3f -> %.3f, adapter sha256 %s",
        trained.steps,
        trained.train_seconds,
        trained.first_perplexity,
        trained.last_perplexity,
        trained.adapter_sha256[:12],
    )
    return trained


def evaluate_trial(
    config: RunConfig,
    base: BaseModelPin,
    tokens: TokenManifest,
    adapter: TrainedAdapter,
) -> EvaluationReport:
    """Base and tuned model on the hold-out documents, from the run's store alone."""
    from packages.qwen_ft.src.evaluate import compare_perplexity

    set_up_logging(config.logging)
    return compare_perplexity(config, base, adapter, tokens, open_run_store().uri)


def best_trial(trials: Sequence[TrainedAdapter]) -> TrainedAdapter:
    """The trial with the lowest last validation perplexity; the first of equal ones."""
    return min(trials, key=lambda trained: trained.last_perplexity)
