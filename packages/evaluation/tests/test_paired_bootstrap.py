"""The interval of a log ratio of perplexities: by hand, by a plain loop, by theory, by coverage."""

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packages.evaluation.src.paired_bootstrap import MOST_BLOCKS, paired_bootstrap


def documents(
    n: int, seed: int, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidate and reference nats and token counts; the true log ratio is `effect`."""
    generator = np.random.default_rng(seed)
    tokens = np.maximum(1, generator.lognormal(4.5, 0.8, n).astype(int))
    reference = tokens * generator.lognormal(0.7, 0.3, n)
    difference = tokens * (effect + generator.normal(0, 0.15, n))
    return reference + difference, reference, tokens


def test_the_log_ratio_weighs_documents_by_their_tokens_worked_by_hand() -> None:
    # (2 - 4) + (9 - 3) = 4 nats more over 10 + 30 tokens; a mean of ratios would say 0.
    interval = paired_bootstrap([2.0, 9.0], [4.0, 3.0], [10, 30])
    assert interval.log_ratio == pytest.approx(0.1)
    assert interval.ratio == pytest.approx(math.exp(0.1))


def test_two_documents_give_the_ends_of_all_four_draws_worked_by_hand() -> None:
    # The draws are (a, a), (a, b), (b, a), (b, b): ratios -2 / 10, 4 / 40, 4 / 40, 6 / 30, each
    # with probability 1/4, so that any two-sided 95 % interval reaches from -0.2 to 0.2.
    interval = paired_bootstrap([2.0, 9.0], [4.0, 3.0], [10, 30])
    assert (interval.low, interval.high) == (pytest.approx(-0.2), pytest.approx(0.2))


def test_the_interval_agrees_with_a_plain_loop() -> None:
    # Independent implementation: lists, random.choices, a sorted list instead of a quantile.
    # 2.09302 is Student's t at 97.5 % and 19 degrees of freedom, from a printed table.
    candidate, reference, tokens = documents(20, seed=3, effect=0.05)
    rows = list(zip(candidate, reference, tokens, strict=True))
    generator = random.Random(0)
    ratios = []
    for _ in range(20_000):
        drawn = generator.choices(rows, k=20)
        ratios.append(sum(c - r for c, r, _ in drawn) / sum(t for _, _, t in drawn))
    ratios.sort()
    tail = NormalDist().cdf(-2.09302 * math.sqrt(20 / 19))
    low, high = ratios[round(tail * 20_000)], ratios[round((1 - tail) * 20_000)]

    interval = paired_bootstrap(candidate, reference, tokens, resamples=20_000)

    # The quantile of 20,000 draws itself varies by 2 % of the width.
    assert interval.low == pytest.approx(low, abs=0.03 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.03 * (high - low))


@pytest.mark.parametrize("n", [MOST_BLOCKS, 4 * MOST_BLOCKS + 1])
def test_many_documents_give_the_width_of_the_delta_method(n: int) -> None:
    # Standard error of a ratio of means (Cochran 1977, section 2.11); blocks change it by 1 %.
    candidate, reference, tokens = documents(n, seed=5)
    ratio = (candidate - reference).sum() / tokens.sum()
    residuals = candidate - reference - ratio * tokens
    error = math.sqrt((residuals**2).sum()) / tokens.sum()
    interval = paired_bootstrap(candidate, reference, tokens)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.04)
    assert interval.log_ratio == pytest.approx(ratio, rel=1e-9)


@pytest.mark.parametrize("n", [10, 40])
def test_the_interval_misses_the_truth_nearly_as_seldom_as_it_says(n: int) -> None:
    # Simulated data sets without an effect; 5 % of the intervals should miss. Over 4,000 sets:
    # 6.8 % with 10 documents, 6.7 % with 40. Not widened they missed 11.6 % and 7.8 %.
    missed = 0
    for seed in range(600):
        # Not the data's seed: it would draw from the same stream.
        data = documents(n, seed)
        interval = paired_bootstrap(*data, resamples=1000, seed=10**6 + seed)
        missed += not interval.low <= 0 <= interval.high
    assert 0.03 < missed / 600 < 0.09


def test_a_real_effect_is_seen_and_a_small_one_on_few_documents_is_not() -> None:
    assert paired_bootstrap(*documents(300, seed=1, effect=-0.1)).high < 0
    small = paired_bootstrap(*documents(20, seed=1, effect=-0.001))
    assert small.low < 0 < small.high


def test_the_same_seed_gives_the_same_interval_and_another_a_near_one() -> None:
    data = documents(50, seed=2)
    first = paired_bootstrap(*data, seed=7)
    assert paired_bootstrap(*data, seed=7) == first
    other = paired_bootstrap(*data, seed=8)
    assert other.low != first.low
    assert other.low == pytest.approx(first.low, abs=0.05 * (first.high - first.low))


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_exchanging_the_models_mirrors_the_log_ratio(n: int, seed: int) -> None:
    candidate, reference, tokens = documents(n, seed)
    there = paired_bootstrap(candidate, reference, tokens, resamples=200)
    back = paired_bootstrap(reference, candidate, tokens, resamples=200)
    assert back.log_ratio == pytest.approx(-there.log_ratio, abs=1e-12)
    assert (back.low, back.high) == (
        pytest.approx(-there.high),
        pytest.approx(-there.low),
    )
    assert there.low <= there.high


def test_equal_models_have_a_ratio_of_exactly_one() -> None:
    _, reference, tokens = documents(50, seed=2)
    interval = paired_bootstrap(reference, reference, tokens)
    assert (interval.log_ratio, interval.low, interval.high) == (0, 0, 0)
    assert interval.ratio_interval == (1, 1)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    data = documents(50, seed=2)
    narrow, wide = paired_bootstrap(*data, confidence=0.8), paired_bootstrap(
        *data, confidence=0.99
    )
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("candidate", "reference", "tokens", "message"),
    [
        ([1.0], [1.0], [1], r"1 document\(s\) have no spread"),
        ([], [], [], r"0 document\(s\)"),
        ([1.0, 2.0], [1.0], [1, 1], r"has \(2,\) documents, the reference \(1,\)"),
        (
            [1.0, math.nan],
            [1.0, 1.0],
            [1, 1],
            "Document 1 of the candidate has nan nats",
        ),
        (
            [1.0, 1.0],
            [math.inf, 1.0],
            [1, 1],
            "Document 0 of the reference has inf nats",
        ),
        ([1.0, 1.0], [1.0, 1.0], [1, 0], "Document 1 has 0 scored tokens"),
        ([1.0, 1.0], [1.0, 1.0], [math.nan, 1], "Document 0 has nan scored tokens"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    candidate: list[float], reference: list[float], tokens: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(candidate, reference, tokens)


@pytest.mark.parametrize(("resamples", "confidence"), [(0, 0.95), (10, 1.0), (10, 0.0)])
def test_settings_out_of_range_are_refused(resamples: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=f"resamples is {resamples}"):
        paired_bootstrap(
            [1.0, 1.0], [1.0, 1.0], [1, 1], resamples=resamples, confidence=confidence
        )
