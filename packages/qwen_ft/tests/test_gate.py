"""What the gate accepts, what it refuses, and the reason it gives for each."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.qwen_ft.src.config import GateSettings
from packages.qwen_ft.src.evaluation_report import EvaluationReport, ModelScore
from packages.qwen_ft.src.gate import (
    Champion,
    Rule,
    Verdict,
    champion_from,
    decide,
    near_one,
    scores_to_keep,
)

GATE = GateSettings(resamples=1000)


def score(nll: list[float], tokens: list[int]) -> ModelScore:
    mean = math.fsum(nll) / sum(tokens)
    perplexity = math.exp(mean) if mean < 700 else math.inf
    return ModelScore(
        perplexity, bits_per_byte=1.0, loss=mean, nll_by_document=tuple(nll)
    )


def report_of(
    base: list[float], tuned: list[float], tokens: list[int]
) -> EvaluationReport:
    return EvaluationReport(
        base=score(base, tokens),
        tuned=score(tuned, tokens),
        document_keys=tuple(f"document-{i}" for i in range(len(tokens))),
        tokens_by_document=tuple(tokens),
        scored_tokens=sum(tokens),
        scored_bytes=4 * sum(tokens),
        runtime_s=1.0,
        window_tokens=512,
        stride_tokens=256,
        precision="float32",
        data_sha256="d" * 64,
        adapter_sha256="a" * 64,
    )


def simulated(n: int = 60, effect: float = -0.3, seed: int = 0) -> EvaluationReport:
    """A report whose true log ratio tuned / base is `effect`."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(20, 200, n)
    base = tokens * generator.lognormal(0.7, 0.2, n)
    tuned = base + tokens * (effect + generator.normal(0, 0.1, n))
    return report_of(base.tolist(), np.maximum(tuned, 0).tolist(), tokens.tolist())


def champion(report: EvaluationReport, shift: float = 0.0) -> Champion:
    """A version that scored `shift` nats per token worse than the tuned model of `report`."""
    kept = scores_to_keep(report)
    kept["nll_by_document"] = [
        nll + shift * tokens
        for nll, tokens in zip(
            kept["nll_by_document"], report.tokens_by_document, strict=True
        )
    ]
    return champion_from("v1.3", kept)


def rule(verdict: Verdict, name: str) -> Rule:
    return next(found for found in verdict.rules if found.name == name)


def test_a_clearly_better_adapter_is_accepted_in_one_line() -> None:
    verdict = decide(simulated(), GATE)
    assert verdict.accepted
    assert verdict.summary().startswith("accepted: tuned/base perplexity 0.7")
    assert "(95 % interval 0." in verdict.summary()
    assert verdict.summary().endswith("is below 1")
    assert "\n" not in verdict.summary()


def test_the_numbers_of_the_base_rule_worked_by_hand() -> None:
    # Every document loses ln 2 per token, so the ratio is 1/2 however documents are drawn.
    tokens = [10, 30] * 10
    base = [2.0 * t for t in tokens]
    tuned = [(2.0 - math.log(2)) * t for t in tokens]
    found = rule(decide(report_of(base, tuned, tokens), GATE), "better than the base")
    assert found.value == pytest.approx(0.5)
    assert found.interval == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.limit == 1


def test_a_tenth_of_a_percent_on_twenty_documents_is_not_significant() -> None:
    verdict = decide(simulated(n=20, effect=-0.001, seed=3), GATE)
    assert not verdict.accepted
    assert "is not significantly below 1" in verdict.summary()


def test_an_adapter_that_makes_the_model_worse_is_told_so() -> None:
    assert "makes the model worse" in decide(simulated(effect=0.2), GATE).summary()


def test_an_untrained_adapter_is_rejected() -> None:
    # A fresh LoRA adds exactly nothing: B is zero.
    nll, tokens = [20.0 + i for i in range(30)], [10] * 30
    assert not decide(report_of(nll, nll, tokens), GATE).accepted


@pytest.mark.parametrize(
    ("limit", "accepted"), [(2.01, True), (2.0, False), (1.5, False)]
)
def test_the_perplexity_must_be_below_the_limit_and_not_at_it(
    limit: float, accepted: bool
) -> None:
    tokens = [1024] * 20
    base, tuned = [math.log(4) * t for t in tokens], [math.log(2) * t for t in tokens]
    report = report_of(base, tuned, tokens)
    report = replace(report, tuned=replace(report.tuned, perplexity=2.0))
    gate = GateSettings(resamples=1000, max_perplexity=limit)
    assert decide(report, gate).accepted is accepted


def test_without_a_champion_nothing_has_to_be_beaten() -> None:
    found = rule(decide(simulated(), GATE), "not worse than production")
    assert found.passed
    assert found.reason == "no version is in production yet"


def test_the_same_scores_as_production_are_accepted() -> None:
    report = simulated()
    verdict = decide(report, GATE, champion(report))
    assert verdict.accepted
    assert rule(verdict, "not worse than production").interval == (1, 1)


@pytest.mark.parametrize(
    ("shift", "accepted"), [(0.1, True), (-0.01, True), (-0.03, False), (-0.1, False)]
)
def test_a_regression_up_to_two_percent_is_allowed(
    shift: float, accepted: bool
) -> None:
    report = simulated()
    verdict = decide(report, GATE, champion(report, shift))
    assert verdict.accepted is accepted
    found = rule(verdict, "not worse than production")
    assert found.value == pytest.approx(math.exp(-shift))
    assert "tuned/v1.3 perplexity on 60 shared documents" in found.reason


def test_a_champion_on_other_documents_cannot_be_compared() -> None:
    report = simulated()
    other = replace(
        champion(report), document_keys=tuple(f"other-{i}" for i in range(60))
    )
    verdict = decide(report, GATE, other)
    assert not verdict.accepted
    assert "0 of the 60 hold-out documents of v1.3" in verdict.summary()
    assert "register under another name" in verdict.summary()


def test_documents_are_matched_by_key_and_not_by_place() -> None:
    report, turned = simulated(), simulated()
    kept = {
        key: list(reversed(value)) if isinstance(value, list) else value
        for key, value in scores_to_keep(turned).items()
    }
    assert rule(
        decide(report, GATE, champion_from("v1.0", kept)), "not worse than production"
    ).interval == (1, 1)


def test_data_that_grew_is_compared_on_the_shared_documents() -> None:
    report = simulated(n=60)
    grown = champion(report)
    before = replace(
        grown,
        document_keys=(*grown.document_keys[:40], "gone"),
        nll_by_document=(*grown.nll_by_document[:40], 5.0),
        tokens_by_document=(*grown.tokens_by_document[:40], 3),
    )
    verdict = decide(report, GATE, before)
    assert verdict.accepted
    assert "on 40 shared documents" in rule(verdict, "not worse than production").reason


def test_equal_documents_are_matched_one_to_one() -> None:
    report = replace(simulated(n=20), document_keys=("same",) * 20)
    assert rule(
        decide(report, GATE, champion(report)), "not worse than production"
    ).interval == (
        1,
        1,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"window_tokens": 1024},
            "scored with window and stride 1024 and 256, this run with 512",
        ),
        ({"stride_tokens": 128}, "window and stride 512 and 128"),
        ({"nll_by_document": (math.nan,) * 60}, "stored scores of v1.3 are not finite"),
        (
            {"tokens_by_document": (7,) * 60},
            "v1.3 had 7: its stored scores belong to something",
        ),
    ],
)
def test_a_champion_that_was_scored_otherwise_cannot_be_compared(
    change: dict[str, object], reason: str
) -> None:
    report = simulated()
    verdict = decide(report, GATE, replace(champion(report), **change))  # type: ignore[arg-type]
    assert not verdict.accepted
    assert reason in verdict.summary()


def broken(which: str) -> EvaluationReport:
    report = simulated()
    tuned = list(report.tuned.nll_by_document)
    match which:
        case "nan":
            tuned[3] = math.nan
        case "inf":
            tuned[3] = math.inf
        case "negative":
            tuned[3] = -1.0
        case "missing":
            tuned = tuned[:-1]
        case "perplexity":
            return replace(report, tuned=replace(report.tuned, perplexity=math.nan))
        case "other perplexity":
            return replace(report, tuned=replace(report.tuned, perplexity=1.5))
        case "count":
            return replace(report, scored_tokens=1)
        case "nothing":
            none = replace(report.tuned, nll_by_document=())
            return replace(
                report,
                base=none,
                tuned=none,
                document_keys=(),
                tokens_by_document=(),
                scored_tokens=0,
            )
    return replace(report, tuned=replace(report.tuned, nll_by_document=tuple(tuned)))


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("nan", "the tuned model has nan nats on"),
        ("inf", "the tuned model has inf nats on"),
        ("negative", "the tuned model has -1.0 nats on"),
        ("missing", "the tuned model has scores of 59 documents, there are 60 keys"),
        ("perplexity", "the perplexity of the tuned model is nan"),
        (
            "other perplexity",
            "the tuned perplexity is reported as 1.5, its documents give",
        ),
        ("count", "scored tokens over the documents, 1 reported"),
        ("nothing", ""),
    ],
)
def test_scores_that_are_not_whole_are_rejected_with_the_reason(
    which: str, reason: str
) -> None:
    verdict = decide(broken(which), GATE)
    assert not verdict.accepted
    assert reason in verdict.summary()


def test_too_few_documents_decide_nothing() -> None:
    verdict = decide(simulated(n=9), GATE)
    assert "9 hold-out documents with scored tokens are fewer than" in verdict.summary()
    assert decide(simulated(n=10), GATE).accepted


def test_documents_without_scored_tokens_do_not_count() -> None:
    report = simulated(n=12)
    tokens = [*report.tokens_by_document, 0]
    more = report_of(
        [*report.base.nll_by_document, 0.0],
        [*report.tuned.nll_by_document, 0.0],
        tokens,
    )
    assert decide(more, GATE).accepted
    assert decide(more, GATE).summary() == decide(report, GATE).summary()


@pytest.mark.parametrize(
    ("done", "accepted"), [(100, True), (99, False), (101, False), (None, False)]
)
def test_an_adapter_that_was_not_trained_to_the_end_is_rejected(
    done: int | None, accepted: bool
) -> None:
    verdict = decide(simulated(), GATE, steps_done=done, steps_expected=100)
    assert verdict.accepted is accepted
    assert accepted or "of 100 training steps done" in verdict.summary()


def test_all_reasons_are_given_at_once() -> None:
    report = simulated(effect=0.1)
    gate = GateSettings(resamples=1000, max_perplexity=1.01)
    summary = decide(
        report, gate, champion(report, -0.5), steps_done=1, steps_expected=2
    ).summary()
    assert summary.count(";") == 3


def test_the_same_report_always_gets_the_same_verdict() -> None:
    assert decide(simulated(), GATE) == decide(simulated(), GATE)


def test_a_verdict_is_plain_data() -> None:
    plain = decide(simulated(), GATE).to_dict()
    assert plain["accepted"] is True
    assert {"name", "passed", "value", "limit", "interval", "reason"} == set(
        plain["rules"][0]
    )


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.7123, "0.712"), (1.0, "1.000"), (0.99996, "0.99996"), (1.2, "1.200")],
)
def test_a_ratio_is_shown_so_that_it_differs_from_one(ratio: float, text: str) -> None:
    assert near_one(ratio) == text


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_numbers_get_a_verdict_and_only_sound_ones_are_accepted(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(0, 14))
    number = st.floats(0, 1e4) | st.sampled_from([math.nan, math.inf, -1.0])
    base = data.draw(st.lists(number, min_size=n, max_size=n))
    tuned = data.draw(st.lists(number, min_size=n, max_size=n))
    tokens = data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n))
    if sum(tokens) == 0:
        return
    report = report_of(base, tuned, tokens)
    verdict = decide(report, GATE, champion(report))
    assert verdict.accepted == all(found.passed for found in verdict.rules)
    assert verdict.summary()
    if verdict.accepted:
        assert all(map(math.isfinite, base + tuned))
        assert sum(tuned) < sum(base)
