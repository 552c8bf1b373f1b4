"""Everything that a run found out, as its last step sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from metaflow import current

from packages.chat_data.src.pins import PinnedSource
from packages.chat_data.src.token_manifest import TokenManifest
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.evaluation_report import EvaluationReport
from packages.qwen_ft.src.gate import Champion, Verdict, decide
from packages.qwen_ft.src.trained_adapter import TrainedAdapter
from packages.qwen_ft.src.training_arguments import plan_steps


@dataclass(frozen=True)
class FinishedRun:
    """One run, evaluated and judged.

    Args:
        pathspec: flow and run id, such as `TrainingFlow/17`.
        trials: every trained adapter; `adapter` is the chosen one.
    """

    pathspec: str
    config: RunConfig
    base: BaseModelPin
    source: PinnedSource
    tokens: TokenManifest
    trials: tuple[TrainedAdapter, ...]
    adapter: TrainedAdapter
    report: EvaluationReport
    verdict: Verdict


def finish(
    config: RunConfig,
    base: BaseModelPin,
    source: PinnedSource,
    tokens: TokenManifest,
    trials: Sequence[TrainedAdapter],
    adapter: TrainedAdapter,
    report: EvaluationReport,
    champion: Champion | None,
) -> FinishedRun:
    """Judge the running flow's adapter, and hold everything known of the run together."""
    pathspec = f"{current.flow_name}/{current.run_id}"
    training = config.with_trial(dict(adapter.trial)).training  # type: ignore[arg-type]
    verdict = decide(
        report,
        config.gate,
        champion,
        steps_done=adapter.steps,
        steps_expected=plan_steps(tokens.train.documents, training).steps,
    )
    return FinishedRun(
        pathspec, config, base, source, tokens, tuple(trials), adapter, report, verdict
    )
