"""6. The decision whether an adapter is registered: named rules over per-document scores; pure.

A rule passes only if its numbers are there and clear its limit, so NaN and missing values fail.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from packages.evaluation.src.paired_bootstrap import BootstrapInterval, paired_bootstrap
from packages.qwen_ft.src.evaluation_report import EvaluationReport

if TYPE_CHECKING:
    from packages.qwen_ft.src.config import GateSettings

LEAST_SHARED = 0.5  # of the champion's documents: the other half may have left the data
SAME_PERPLEXITY = 1e-6  # in nats; the report's own number against its documents


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition of the gate.

    Args:
        value: what was measured; None where it could not be.
        limit: what it had to stay below (or reach, for counts).
        interval: where `value` could lie, at the confidence of the gate.
        reason: a sentence with the numbers, for people.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    interval: tuple[float, float] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rules, and whether every one of them passed."""

    accepted: bool
    rules: tuple[Rule, ...]

    def summary(self) -> str:
        """One line: why it was accepted, or each reason why not."""
        if self.accepted:
            return f"accepted: {self.rules[-1].reason}"
        return "rejected: " + "; ".join(
            rule.reason for rule in self.rules if not rule.passed
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Champion:
    """What the version in production scored on its hold-out documents.

    Args:
        version: for people, such as `v1.3`.
        nll_by_document: nats, in the order of `document_keys`.
        tokens_by_document: scored tokens.
    """

    version: str
    document_keys: tuple[str, ...]
    nll_by_document: tuple[float, ...]
    tokens_by_document: tuple[int, ...]
    window_tokens: int
    stride_tokens: int


def scores_to_keep(report: EvaluationReport) -> dict[str, Any]:
    """What must be stored with a version so that it can be the champion of a later run."""
    return {
        "document_keys": list(report.document_keys),
        "nll_by_document": list(report.tuned.nll_by_document),
        "tokens_by_document": list(report.tokens_by_document),
        "window_tokens": report.window_tokens,
        "stride_tokens": report.stride_tokens,
    }


def champion_from(version: str, kept: Mapping[str, Any]) -> Champion:
    """The champion from what `scores_to_keep` gave."""
    return Champion(
        version,
        tuple(kept["document_keys"]),
        tuple(kept["nll_by_document"]),
        tuple(kept["tokens_by_document"]),
        kept["window_tokens"],
        kept["stride_tokens"],
    )


def decide(
    report: EvaluationReport,
    gate: "GateSettings",
    champion: Champion | None = None,
    *,
    steps_done: int | None = None,
    steps_expected: int | None = None,
) -> Verdict:
    """Whether the adapter of `report` may be registered. Never raises for bad numbers: it rejects.

    Args:
        champion: the version in production; None if there is none yet.
        steps_done, steps_expected: optimizer steps; an adapter that stopped early is rejected.
    """
    rules = (
        [_trained_to_the_end(steps_done, steps_expected)]
        if steps_expected is not None
        else []
    )
    rules.append(_scores_complete(report, gate))
    if rules[-1].passed:
        # The comparison with the base comes last: it is what a summary of success says.
        if gate.max_perplexity is not None:
            rules.append(_below_limit(report, gate.max_perplexity))
        rules.append(_not_worse_than_production(report, gate, champion))
        rules.append(_better_than_base(report, gate))
    return Verdict(accepted=all(rule.passed for rule in rules), rules=tuple(rules))


def _trained_to_the_end(done: int | None, expected: int) -> Rule:
    passed = done is not None and done == expected
    reason = f"{'an unknown number' if done is None else done} of {expected} training steps done"
    value = None if done is None else float(done)
    return Rule("trained to the end", passed, value, float(expected), None, reason)


def _scores_complete(report: EvaluationReport, gate: "GateSettings") -> Rule:
    """Every document has a finite score from both models, and there are enough of them."""
    name, count = "scores complete", len(report.document_keys)
    trouble = _first_trouble(report)
    if trouble is None and _scored(report.tokens_by_document) < gate.min_documents:
        trouble = (
            f"{_scored(report.tokens_by_document)} hold-out documents with scored tokens are fewer "
            f"than min_documents = {gate.min_documents}"
        )
    reason = trouble or f"{count:,} documents, {report.scored_tokens:,} scored tokens"
    return Rule(
        name, trouble is None, float(count), float(gate.min_documents), None, reason
    )


def _first_trouble(report: EvaluationReport) -> str | None:
    """What makes the scores unusable, if anything."""
    keys, tokens = report.document_keys, report.tokens_by_document
    if sum(tokens) != report.scored_tokens:
        return f"{sum(tokens)} scored tokens over the documents, {report.scored_tokens} reported"
    for name, model in (("tuned", report.tuned), ("base", report.base)):
        if not len(keys) == len(tokens) == len(model.nll_by_document):
            return (
                f"the {name} model has scores of {len(model.nll_by_document)} documents, there are "
                f"{len(keys)} keys and {len(tokens)} token counts"
            )
        for key, nll, scored in zip(keys, model.nll_by_document, tokens, strict=True):
            if (
                not (math.isfinite(nll) and nll >= 0)
                or scored < 0
                or (scored == 0 and nll != 0)
            ):
                return f"the {name} model has {nll} nats on {scored} tokens of document {key[:12]}"
        if not (math.isfinite(model.perplexity) and model.perplexity > 0):
            return f"the perplexity of the {name} model is {model.perplexity}"
        again = math.fsum(model.nll_by_document) / max(1, sum(tokens))
        if not math.isclose(again, math.log(model.perplexity), abs_tol=SAME_PERPLEXITY):
            return (
                f"the {name} perplexity is reported as {model.perplexity:.6g}, its documents give "
                f"exp({again:.6g})"
            )
    return None


def _below_limit(report: EvaluationReport, limit: float) -> Rule:
    value = report.tuned.perplexity
    passed = value < limit
    reason = f"tuned perplexity {value:.4g} is {'below' if passed else 'not below'} {limit:g}"
    return Rule("perplexity below the limit", passed, value, limit, None, reason)


def _better_than_base(report: EvaluationReport, gate: "GateSettings") -> Rule:
    interval = _bootstrap(
        report.tuned.nll_by_document,
        report.base.nll_by_document,
        report.tokens_by_document,
        gate,
    )
    passed = interval.high < 0
    if passed:
        end = "is below 1"
    elif interval.low > 0:
        end = "is above 1: the adapter makes the model worse"
    else:
        end = "is not significantly below 1"
    reason = f"tuned/base perplexity {_in_words(interval, gate)} {end}"
    return Rule(
        "better than the base",
        passed,
        interval.ratio,
        1,
        interval.ratio_interval,
        reason,
    )


def _not_worse_than_production(
    report: EvaluationReport, gate: "GateSettings", champion: Champion | None
) -> Rule:
    """Non-inferiority: the upper end of the interval must stay within `max_regression`."""
    name, limit = "not worse than production", 1 + gate.max_regression
    if champion is None:
        return Rule(name, True, None, limit, None, "no version is in production yet")
    pairs, trouble = _shared_documents(report, champion, gate)
    if trouble is not None:
        return Rule(name, False, None, limit, None, trouble)
    mine, theirs = zip(*pairs, strict=True)
    interval = _bootstrap(
        [report.tuned.nll_by_document[i] for i in mine],
        [champion.nll_by_document[i] for i in theirs],
        [report.tokens_by_document[i] for i in mine],
        gate,
    )
    passed = interval.high <= math.log1p(gate.max_regression)
    reason = (
        f"tuned/{champion.version} perplexity on {len(pairs):,} shared documents "
        f"{_in_words(interval, gate)} {'stays' if passed else 'does not stay'} within {limit:g}"
    )
    return Rule(name, passed, interval.ratio, limit, interval.ratio_interval, reason)


def _shared_documents(
    report: EvaluationReport, champion: Champion, gate: "GateSettings"
) -> tuple[list[tuple[int, int]], str | None]:
    """(position here, position there) of each document that both scored, or why there are none."""
    here = (report.window_tokens, report.stride_tokens)
    there = (champion.window_tokens, champion.stride_tokens)
    if here != there:
        return [], (
            f"{champion.version} was scored with window and stride {there[0]} and {there[1]}, this "
            f"run with {here[0]} and {here[1]}: use the same evaluation settings"
        )
    theirs = dict(zip(_numbered(champion.document_keys), range(10**9), strict=False))
    pairs = [
        (mine, theirs[key])
        for mine, key in enumerate(_numbered(report.document_keys))
        if key in theirs and report.tokens_by_document[mine] > 0
    ]
    needed = max(gate.min_documents, math.ceil(LEAST_SHARED * len(theirs)))
    if len(pairs) < needed:
        return [], (
            f"{len(pairs)} of the {len(theirs)} hold-out documents of {champion.version} are among "
            f"this run's, at least {needed} are needed to compare: keep data, split, tokenizer and "
            "template, or register under another name"
        )
    for mine, other in pairs:
        counts = report.tokens_by_document[mine], champion.tokens_by_document[other]
        if counts[0] != counts[1]:
            return [], (
                f"document {report.document_keys[mine][:12]} has {counts[0]} scored tokens, "
                f"{champion.version} had {counts[1]}: its stored scores belong to something else"
            )
        if not math.isfinite(champion.nll_by_document[other]):
            return [], f"the stored scores of {champion.version} are not finite"
    return pairs, None


def _numbered(keys: Sequence[str]) -> list[tuple[str, int]]:
    """Each key with how often it came before: pieces of one long document share its key."""
    seen: Counter[str] = Counter()
    numbered = []
    for key in keys:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered


def _scored(tokens: Sequence[int]) -> int:
    return sum(count > 0 for count in tokens)


def _bootstrap(
    candidate: Sequence[float],
    reference: Sequence[float],
    tokens: Sequence[int],
    gate: "GateSettings",
) -> BootstrapInterval:
    """The interval over the documents that have scored tokens."""
    rows = [row for row in zip(candidate, reference, tokens, strict=True) if row[2] > 0]
    return paired_bootstrap(
        *zip(*rows, strict=True),
        resamples=gate.resamples,
        seed=gate.seed,
        confidence=gate.confidence,
    )


def _in_words(interval: BootstrapInterval, gate: "GateSettings") -> str:
    low, high = interval.ratio_interval
    level = f"{100 * gate.confidence:g} %"
    return f"{near_one(interval.ratio)} ({level} interval {near_one(low)} to {near_one(high)})"


def near_one(ratio: float) -> str:
    """A ratio with three decimals, or as many more as tell it from 1."""
    decimals = 3
    while decimals < 9 and ratio != 1 and round(ratio, decimals) == 1:
        decimals += 1
    return f"{ratio:.{decimals}f}"
