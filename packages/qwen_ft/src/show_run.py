"""What a person sees at the end of a run: the card, and the summary in the terminal."""

from metaflow import current

from packages.model_registry.src.register import RegisteredVersion
from packages.qwen_ft.src.cards import run_card
from packages.qwen_ft.src.finished_run import FinishedRun
from packages.qwen_ft.src.flow_outcome import tell_at_the_end


def show_run(run: FinishedRun, registered: RegisteredVersion | None) -> None:
    """Fill the card of the running step, and leave the summary for the end of the run."""
    version = f"{registered.model} {registered.version}" if registered else ""
    for component in run_card(
        run.config,
        run.base,
        run.source,
        run.tokens,
        run.trials,
        run.adapter,
        run.report,
        run.verdict,
        version,
    ):
        current.card.append(component)
    tell_at_the_end(summary(run, registered))


def summary(run: FinishedRun, registered: RegisteredVersion | None) -> str:
    """The verdict with its numbers, where the adapter is, and the next commands to type."""
    report = run.report
    lines = [
        run.verdict.summary(),
        f"  hold-out perplexity  {report.base.perplexity:.3f} base, {report.tuned.perplexity:.3f} tuned  "
        f"({report.scored_tokens:,} tokens of {len(report.document_keys):,} documents)",
        f"  bits per byte        {report.base.bits_per_byte:.3f} base, {report.tuned.bits_per_byte:.3f} tuned",
        f"  adapter sha256       {run.adapter.adapter_sha256}",
    ]
    if registered:
        lines.append(f"  registered           {registered.uri}")
    else:
        lines.append("  registered           nothing; the version in production stays")
    flow = "./python -m packages.qwen_ft.src.flows.training_flow"
    lines += [
        f"  card                 {flow} card view {run.pathspec.split('/')[1]}/end",
        f"  next                 {_next_command(run, registered)}",
    ]
    return "\n".join(lines)


def _next_command(run: FinishedRun, registered: RegisteredVersion | None) -> str:
    if registered is None:
        return "./python -m packages.qwen_ft.src.flows.training_flow run --set 'training.num_train_epochs=3'"
    place = run.config.registry.uri
    return f"./python -m packages.cli registry show {registered.model} {registered.version} --registry {place}"
