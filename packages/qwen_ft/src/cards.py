"""The card of a run: what was decided, how it was learned, from which data; made from plain values.

Functions return components of `metaflow.cards`; a step appends them to `current.card`. The charts'
library is inside the card, so that it opens without a network.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from metaflow.cards import Markdown, Table, VegaChart

from packages.chat_data.src.pins import PinnedSource
from packages.chat_data.src.token_manifest import PreviewRow, TokenManifest
from packages.qwen_ft.src import card_html
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.evaluation_report import EvaluationReport, Sample
from packages.qwen_ft.src.gate import Rule, Verdict, near_one
from packages.qwen_ft.src.trained_adapter import CurvePoint, TrainedAdapter

SHOWN_OBJECTS = 20
Component = Any  # metaflow's components are not typed
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
CHART_HEIGHT, BESIDE_WIDTH = 240, 310  # two charts fit a window of 1,200 pixels


def run_card(
    config: RunConfig,
    base: BaseModelPin,
    source: PinnedSource,
    tokens: TokenManifest,
    trials: Sequence[TrainedAdapter],
    adapter: TrainedAdapter,
    report: EvaluationReport,
    verdict: Verdict,
    registered: str = "",
) -> list[Component]:
    """The whole card of a finished run.

    Args:
        trials: every trained adapter; `adapter` is the chosen one.
        registered: where the new version is, such as `tiny-qwen2-lora v1.0`; empty if rejected.
    """
    return [
        *verdict_part(report, verdict, registered),
        Markdown("## The gate"),
        gate_table(verdict),
        Markdown("## Training"),
        curves_part(adapter.curves),
        trials_table(trials, adapter),
        *notes_part(adapter),
        Markdown("## Base and tuned model, side by side"),
        samples_table(report.samples),
        Markdown("## Data"),
        splits_table(tokens),
        data_table(source, tokens),
        *objects_part(source),
        Markdown("## What is learned"),
        *mask_part(tokens.preview),
        Markdown("## Where this comes from"),
        origin_table(config, base, source, tokens, adapter),
        Markdown(
            card_html.folded(
                "All settings of this run", config.model_dump_json(indent=2)
            )
        ),
    ]


def verdict_part(
    report: EvaluationReport, verdict: Verdict, registered: str
) -> list[Component]:
    """The decision and the numbers behind it, at a glance."""
    ratio = report.tuned.perplexity / report.base.perplexity
    tiles = [
        ("Base perplexity", f"{report.base.perplexity:#.4g}", "hold-out documents"),
        (
            "Tuned perplexity",
            f"{report.tuned.perplexity:#.4g}",
            f"{100 * (ratio - 1):+.1f} % · ratio {near_one(ratio)}",
        ),
        (
            "Bits per byte",
            f"{report.base.bits_per_byte:.3f} → {report.tuned.bits_per_byte:.3f}",
            "comparable across tokenizers",
        ),
        (
            "Measured on",
            f"{len(report.document_keys):,}",
            f"documents, {report.scored_tokens:,} scored tokens, none of them trained on",
        ),
        ("Registered", *_version_tile(registered)),
    ]
    sentence = verdict.summary().partition(": ")[2]
    return [
        Markdown(card_html.banner(verdict.accepted, sentence)),
        Markdown(card_html.tiles(tiles)),
        Markdown(
            card_html.small_print(
                f"Perplexity is {report.convention}; window {report.window_tokens} tokens, stride "
                f"{report.stride_tokens}; {report.precision}."
            )
        ),
    ]


def _version_tile(registered: str) -> tuple[str, str]:
    if not registered:
        return "nothing", "a rejected run registers nothing"
    name, _, version = registered.rpartition(" ")
    return version, name


def gate_table(verdict: Verdict) -> Component:
    """One row per rule: value, limit, interval, passed."""
    headers = ["rule", "", "value", "interval", "limit", "in words"]
    return Markdown(
        card_html.table([_rule_row(rule) for rule in verdict.rules], headers)
    )


def _rule_row(rule: Rule) -> list[str]:
    value, interval = number(rule.value), "–"
    if rule.interval is not None and rule.value is not None:
        value = near_one(rule.value)
        interval = card_html.unbroken(
            f"{near_one(rule.interval[0])} to {near_one(rule.interval[1])}"
        )
    reason = card_html.escaped(rule.reason)
    return [
        card_html.unbroken(rule.name),
        card_html.passed_mark(rule.passed),
        value,
        interval,
        number(rule.limit),
        reason,
    ]


def curves_part(curves: Sequence[CurvePoint]) -> Component:
    """Validation perplexity from before training on, beside the train loss."""
    validation = [(p.step, p.validation_perplexity) for p in curves]
    loss = [(p.step, p.train_loss) for p in curves]
    charts = [_line_spec(validation, "perplexity"), _line_spec(loss, "nats per token")]
    return Table(
        [[VegaChart(spec | {"width": BESIDE_WIDTH}) for spec in charts]],
        ["validation perplexity, exact; step 0 is the base model", "train loss"],
    )


def _line_chart(points: Sequence[tuple[int, float | None]], unit: str) -> Component:
    return VegaChart(_line_spec(points, unit))


def _line_spec(points: Sequence[tuple[int, float | None]], unit: str) -> dict[str, Any]:
    """A Vega-Lite line with a dot at each measured step."""
    return {
        "$schema": SCHEMA,
        "background": None,
        "height": CHART_HEIGHT,
        "data": {"values": [{"step": s, "value": v} for s, v in points if is_shown(v)]},
        "mark": {
            "type": "line",
            "point": {"color": card_html.BLUE},
            "color": card_html.BLUE,
        },
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "title": "optimizer step",
                "axis": {"format": "d", "tickCount": 6},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": unit,
                "scale": {"zero": False},
            },
            "tooltip": [
                {"field": "step", "type": "quantitative"},
                {
                    "field": "value",
                    "type": "quantitative",
                    "title": unit,
                    "format": ".4f",
                },
            ],
        },
        "config": {"view": {"stroke": None}, "axis": {"gridColor": "#eef0f3"}},
    }


def live_curves(card: Any) -> Callable[[Sequence[CurvePoint]], None]:
    """Put the two charts on a running step's card; call the result with all points so far."""
    perplexity, loss = _line_chart([], "perplexity"), _line_chart([], "nats per token")
    card.append(Markdown("### Validation perplexity, exact; step 0 is the base model"))
    card.append(perplexity)
    card.append(Markdown("### Train loss"))
    card.append(loss)

    def show(curves: Sequence[CurvePoint]) -> None:
        points = [(p.step, p.validation_perplexity) for p in curves]
        perplexity.update(_line_spec(points, "perplexity"))
        loss.update(
            _line_spec([(p.step, p.train_loss) for p in curves], "nats per token")
        )
        card.refresh()

    return show


def trials_table(trials: Sequence[TrainedAdapter], chosen: TrainedAdapter) -> Component:
    """One row per trial; the chosen one has the lowest validation perplexity."""
    headers = [
        "trial",
        "validation perplexity",
        "steps",
        "documents per step",
        "trainable parameters",
        "time, training part",
        "precision",
    ]
    rows = [
        [
            card_html.escaped(_trial_name(trial, trial == chosen and len(trials) > 1)),
            f"{trial.first_perplexity:#.4g} → {trial.last_perplexity:#.4g}",
            f"{trial.steps:,}",
            f"{trial.effective_batch:,}",
            f"{trial.trainable_parameters:,} "
            f"({100 * trial.trainable_parameters / max(1, trial.total_parameters):.2f} %)",
            f"{trial.seconds:,.1f} s, {trial.train_seconds:,.1f} s",
            card_html.escaped(trial.precision),
        ]
        for trial in trials
    ]
    return Markdown(card_html.table(rows, headers))


def _trial_name(trial: TrainedAdapter, chosen: bool) -> str:
    name = ", ".join(f"{key}={value}" for key, value in trial.trial) or "as configured"
    return f"{name} (chosen)" if chosen else name


def notes_part(adapter: TrainedAdapter) -> list[Component]:
    """Settings that this machine could not honour."""
    return [Markdown(card_html.small_print(note)) for note in adapter.notes]


def samples_table(samples: Sequence[Sample]) -> Component:
    """The same prompts answered by both models."""
    if not samples:
        return Markdown(card_html.small_print("No samples were asked for."))
    rows = [
        [
            card_html.answer(sample.prompt, stopped=True),
            card_html.answer(sample.base.text, sample.base.stopped),
            card_html.answer(sample.tuned.text, sample.tuned.stopped),
            card_html.answer(sample.reference or "–", stopped=True),
        ]
        for sample in samples
    ]
    return Markdown(card_html.table(rows, ["prompt", "base", "tuned", "reference"]))


def splits_table(tokens: TokenManifest) -> Component:
    """Rows and tokens of each side of the split."""
    splits = {"training": tokens.train, "validation": tokens.validation}
    splits["hold-out"] = tokens.hold_out
    rows = [
        [
            name,
            f"{split.documents:,}",
            f"{split.tokens:,}",
            f"{split.scored_tokens:,}",
            f"{100 * split.scored_tokens / max(1, split.tokens):.0f} %",
        ]
        for name, split in splits.items()
    ]
    return Markdown(
        card_html.table(
            rows, ["split", "rows", "tokens", "scored tokens", "share scored"]
        )
    )


def data_table(source: PinnedSource, tokens: TokenManifest) -> Component:
    """What was read, and what became of it."""
    rows = [
        ("source", f"{source.uri} {source.revision}".strip()),
        ("read as", tokens.format_reason),
        ("objects", f"{len(source.objects):,} ({tokens.bytes_read:,} bytes)"),
        ("documents", f"{tokens.documents:,}"),
        ("duplicates dropped", f"{tokens.duplicates_dropped:,}"),
        ("left out by max_documents", f"{tokens.left_out:,}"),
        ("rows refused", _counts(tokens.rejected)),
        ("longer than max_tokens", _counts(tokens.over_length)),
        ("notices", _counts(tokens.notices)),
        ("note", source.note),
    ]
    return Markdown(card_html.pairs([(label, value) for label, value in rows if value]))


def objects_part(source: PinnedSource) -> list[Component]:
    """Key, size and version of each object that was read; the first ones of many."""
    rows = [
        [card_html.escaped(one.key), f"{one.size_bytes:,}", card_html.escaped(one.etag)]
        for one in source.objects[:SHOWN_OBJECTS]
    ]
    hidden = len(source.objects) - len(rows)
    more = card_html.small_print(f"and {hidden:,} more") if hidden else ""
    table = card_html.table(rows, ["object", "bytes", "ETag or sha256"])
    return [Markdown(table), *([Markdown(more)] if more else [])]


def mask_part(preview: Sequence[PreviewRow]) -> list[Component]:
    """The first training rows token by token: which tokens the loss sees."""
    return [
        Markdown(
            f"<div>{card_html.mask_legend(row.where, len(row.tokens), sum(row.scored))}"
            f"{card_html.masked_tokens(row.tokens, row.scored)}</div>"
        )
        for row in preview
    ]


def origin_table(
    config: RunConfig,
    base: BaseModelPin,
    source: PinnedSource,
    tokens: TokenManifest,
    adapter: TrainedAdapter,
) -> Component:
    """Hashes that name exactly what went in and what came out."""
    return Markdown(
        card_html.pairs(
            [
                ("base model", f"{base.name} {base.revision}"),
                ("configuration sha256", config.digest()),
                ("data sha256", source.data_sha256),
                ("tokenizer sha256", tokens.tokenizer_sha256),
                ("chat template sha256", tokens.template_sha256),
                ("adapter sha256", adapter.adapter_sha256),
            ]
        )
    )


def number(value: float | None) -> str:
    """A number with four digits, or a dash."""
    if value is None:
        return "–"
    if math.isfinite(value) and value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def is_shown(value: float | None) -> bool:
    """Whether a chart can show it: JSON knows no NaN."""
    return value is not None and math.isfinite(value)


def _counts(counted: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counted)
