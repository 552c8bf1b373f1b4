"""Exact negative log-likelihood of each document, whatever the batch size; one chunk of logits in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from packages.evaluation.src.perplexity import IGNORED_LABEL, bits_per_byte, perplexity
from packages.evaluation.src.rolling_windows import rolling_windows
from packages.qwen_ft.src.document_attention import ATTENTION_NAME
from packages.qwen_ft.src.document_rows import (
    TokenRow,
    flatten_documents,
    pad_documents,
)
from packages.qwen_ft.src.frozen_head import head_is_plain, scored_hidden, token_nll

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class DocumentScores:
    """Nats and scored tokens of each document of a split, in its order."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def perplexity(self) -> float:
        return perplexity(zip(self.nats, self.tokens, strict=True))

    def bits_per_byte(self, scored_bytes: int) -> float:
        return bits_per_byte(float(np.sum(self.nats)), scored_bytes)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A window of one document, as a row of its own."""

    document: int
    ids: np.ndarray
    scored: np.ndarray


def score_documents(
    model: Any,
    documents: Sequence[TokenRow],
    *,
    batch_size: int,
    window_tokens: int,
    stride_tokens: int,
) -> DocumentScores:
    """-ln p of the scored tokens of each document, in nats, logits in float32.

    A document longer than `window_tokens` is read through windows (see rolling_windows). Its first
    token is never scored, and no token is put before it.

    Args:
        model: a causal language model, with or without an adapter; used in evaluation mode, its
            mode is put back.
        batch_size: windows per forward pass; it changes speed and memory, not the result.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    nats = np.zeros(len(documents))
    tokens = np.zeros(len(documents), dtype=np.int64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in _batches(
                _pieces(documents, window_tokens, stride_tokens), batch_size
            ):
                owners, found = _score(causal, batch)
                np.add.at(nats, owners, found)
                np.add.at(tokens, owners, 1)
    finally:
        model.train(was_training)
    return DocumentScores(tuple(nats.tolist()), tuple(tokens.tolist()))


def _pieces(
    documents: Sequence[TokenRow], window: int, stride: int
) -> Iterator[_Piece]:
    for index in range(len(documents)):
        ids, scored = documents[index].ids, documents[index].scored
        for w in rolling_windows(len(ids), window, stride):
            wanted = np.array(scored[w.begin : w.end], dtype=bool)
            wanted[: w.first_scored - w.begin] = False
            if wanted.any():
                yield _Piece(index, ids[w.begin : w.end], wanted)


def _batches(pieces: Iterator[_Piece], size: int) -> Iterator[tuple[_Piece, ...]]:
    batch: list[_Piece] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _score(
    model: "PreTrainedModel", pieces: tuple[_Piece, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Document index and nats of each scored token of the batch."""
    flat = model.config._attn_implementation == ATTENTION_NAME
    rows = [(piece,) for piece in pieces]
    batch = flatten_documents(rows) if flat else pad_documents(rows, 0)
    batch = {
        k: v.to(model.device) if torch.is_tensor(v) else v for k, v in batch.items()
    }
    labels = batch.pop("labels")
    owners = np.repeat(
        [p.document for p in pieces], [int(p.scored[1:].sum()) for p in pieces]
    )
    if head_is_plain(model):
        hidden = model.model(**batch, use_cache=False).last_hidden_state
        states, targets = scored_hidden(hidden, labels)
        nats = token_nll(states, model.get_output_embeddings().weight, targets)
    else:
        logits = model(**batch, use_cache=False).logits[:, :-1]
        targets = labels[:, 1:]
        scored = targets != IGNORED_LABEL
        nats = torch.nn.functional.cross_entropy(
            logits[scored].float(), targets[scored], reduction="none"
        )
    return owners, nats.double().cpu().numpy()
