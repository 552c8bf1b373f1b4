"""Perplexity from summed negative log-likelihoods; it never depends on how documents were batched."""

import math
from collections.abc import Iterable

import torch
from torch.nn.functional import cross_entropy

IGNORED_LABEL = -100


def summed_nll(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
    """Negative log-likelihood of the scored tokens in one batch.

    Args:
        logits: (batch, time, vocab), any float dtype. Position t predicts token t + 1.
        labels: (batch, time), int64 token ids. `IGNORED_LABEL` marks tokens that are not scored.

    Returns:
        (sum of -ln p over scored tokens, in nats; number of scored tokens). The first token of
        each row has no prediction and is never scored.

    Raises:
        ValueError: `logits` and `labels` disagree on batch or time.
    """
    nats, scored = nll_by_row(logits, labels)
    return math.fsum(nats.tolist()), int(scored.sum())


def nll_by_row(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`summed_nll` of each row: nats (batch,) float64 and scored tokens (batch,) int64.

    Raises:
        ValueError: `logits` and `labels` disagree on batch or time.
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(
            f"logits cover (batch, time) = {tuple(logits.shape[:2])}, labels cover "
            f"{tuple(labels.shape)}. Pass the labels of the same batch, before any shift: the "
            "shift happens here."
        )
    # float32: on random logits (V = 32,000) the bf16 mean read 14.875 nats for 14.931, perplexity 5 % low.
    predictions = logits[:, :-1].flatten(0, 1).float()
    targets = labels[:, 1:]
    nats = cross_entropy(
        predictions, targets.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    )
    return nats.view(targets.shape).double().sum(1), (targets != IGNORED_LABEL).sum(1)


def perplexity(parts: Iterable[tuple[float, int]]) -> float:
    """exp(sum of nats / number of scored tokens) over (nats, scored tokens) pairs.

    The sum is exact (`math.fsum`), so neither the order nor the grouping of the parts matters.
    Overflow gives inf; a NaN part gives NaN.

    Raises:
        ValueError: no token is scored in any part.
    """
    nats, scored = [], 0
    for part_nats, part_scored in parts:
        nats.append(part_nats)
        scored += part_scored
    if scored == 0:
        raise ValueError(
            f"Perplexity of {len(nats)} part(s) without a single scored token is not defined. "
            "Score at least one token: check the loss mask of these documents."
        )
    mean = math.fsum(nats) / scored
    return math.inf if mean > math.log(1e300) else math.exp(mean)


def bits_per_byte(nll_nats: float, n_bytes: int) -> float:
    """Nats over all scored tokens as bits per UTF-8 byte of their text; comparable across tokenizers.

    Raises:
        ValueError: `n_bytes` is not positive.
    """
    if n_bytes <= 0:
        raise ValueError(
            f"{n_bytes} bytes were scored, at least 1 is needed. Pass the UTF-8 length of the "
            "scored text."
        )
    return nll_nats / math.log(2) / n_bytes
