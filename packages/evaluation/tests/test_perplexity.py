import math

import pytest
import torch

from packages.evaluation.src.perplexity import (
    IGNORED_LABEL,
    bits_per_byte,
    nll_by_row,
    perplexity,
    summed_nll,
)


def _random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 7, 11, generator=generator)
    labels = torch.randint(0, 11, (4, 7), generator=generator)
    labels[torch.rand(4, 7, generator=generator) < 0.4] = IGNORED_LABEL
    return logits, labels


def test_three_tokens_worked_by_hand():
    # p(1) = 1/2 at t=0, p(0) = 1/4 at t=1; the first token is never scored.
    # nats = ln 2 + ln 4 = 3 ln 2 over 2 tokens, so perplexity = 2 ** 1.5.
    logits = torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]]).log()
    labels = torch.tensor([[0, 1, 0]])
    assert perplexity([summed_nll(logits, labels)]) == pytest.approx(2**1.5, rel=1e-6)


def test_agrees_with_a_loop_over_single_tokens():
    # Independent implementation: one token at a time, in Python floats.
    logits, labels = _random_batch()
    nats, scored = 0.0, 0
    for row in range(4):
        for t in range(6):
            label = int(labels[row, t + 1])
            if label == IGNORED_LABEL:
                continue
            scores = [float(x) for x in logits[row, t]]
            peak = max(scores)
            nats += (
                peak + math.log(sum(math.exp(x - peak) for x in scores)) - scores[label]
            )
            scored += 1
    found_nats, found_scored = summed_nll(logits, labels)
    assert found_scored == scored
    assert found_nats == pytest.approx(nats, rel=1e-6)


def test_splitting_the_batch_does_not_change_the_result():
    logits, labels = _random_batch()
    whole = perplexity([summed_nll(logits, labels)])
    rows = perplexity(
        [summed_nll(logits[i : i + 1], labels[i : i + 1]) for i in range(4)]
    )
    assert rows == pytest.approx(whole, rel=1e-12)


def test_a_mean_of_batch_means_would_be_another_number():
    # By hand: 1 token at ln 2 and 3 tokens at ln 4 each: exp(7 ln 2 / 4), not exp(1.5 ln 2).
    parts = [(math.log(2), 1), (3 * math.log(4), 3)]
    assert perplexity(parts) == pytest.approx(2 ** (7 / 4), rel=1e-12)


def test_rows_are_counted_apart():
    logits, labels = _random_batch()
    nats, scored = nll_by_row(logits, labels)
    for row in range(4):
        alone = summed_nll(logits[row : row + 1], labels[row : row + 1])
        assert (float(nats[row]), int(scored[row])) == pytest.approx(alone, rel=1e-12)


def test_bfloat16_logits_are_scored_in_float32():
    # Against the same rounded logits in float64: only the rounding of the inputs is left.
    logits, labels = _random_batch()
    rounded = logits.bfloat16()
    found, _ = summed_nll(rounded, labels)
    exact, _ = summed_nll(rounded.double(), labels)
    assert found == pytest.approx(exact, rel=1e-6)


def test_bits_per_byte_by_hand():
    # 8 ln 2 nats are 8 bits; over 4 bytes 2 bits each.
    assert bits_per_byte(8 * math.log(2), 4) == pytest.approx(2.0, rel=1e-12)


def test_not_a_number_stays_visible():
    assert math.isnan(perplexity([(math.nan, 3), (1.0, 1)]))
    assert perplexity([(1e6, 1)]) == math.inf


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        summed_nll(torch.zeros(1, 3, 2), torch.zeros(1, 4, dtype=torch.long))


def test_nothing_scored_is_refused():
    with pytest.raises(ValueError, match="2 part"):
        perplexity([(0.0, 0), (0.0, 0)])
    with pytest.raises(ValueError, match="0 bytes"):
        bits_per_byte(1.0, 0)
