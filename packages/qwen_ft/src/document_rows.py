"""Batches of tokenized documents as model inputs: padded to a rectangle, or flat without padding.

Invariant: the first token of a document is never a target, so no document is predicted from another.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from packages.evaluation.src.perplexity import IGNORED_LABEL


class TokenRow(Protocol):
    """One document: token ids, and which of them are targets."""

    @property
    def ids(self) -> np.ndarray: ...
    @property
    def scored(self) -> np.ndarray: ...


Row = tuple[TokenRow, ...]  # documents that one training row carries
Batch = dict[str, Any]


class DocumentRows(Dataset[Row]):
    """Training rows over a split; each row is one document, or several packed together.

    Args:
        documents: the split, read lazily: a memory map or a list.
        rows: indices into `documents` of each row; None puts each document in a row of its own.
    """

    def __init__(
        self, documents: Sequence[TokenRow], rows: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.documents = documents
        self.rows = rows

    def __len__(self) -> int:
        return len(self.documents) if self.rows is None else len(self.rows)

    def __getitem__(self, index: int) -> Row:
        chosen = (index,) if self.rows is None else self.rows[index]
        return tuple(self.documents[i] for i in chosen)


def pad_documents(rows: Sequence[Row], pad_token_id: int) -> Batch:
    """One document per line, padded on the right: the plain form every model understands.

    Returns:
        input_ids, attention_mask, labels: (documents, longest), int64.
    """
    documents = [document for row in rows for document in row]
    shape = (len(documents), max(len(document.ids) for document in documents))
    ids = torch.full(shape, pad_token_id)
    mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED_LABEL)
    for line, document in enumerate(documents):
        n_tokens = len(document.ids)
        ids[line, :n_tokens], labels[line, :n_tokens] = _ids_and_labels(document)
        mask[line, :n_tokens] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def flatten_documents(rows: Sequence[Row]) -> Batch:
    """All documents of the batch end to end in one line, positions restarting at each.

    Returns:
        input_ids, labels, position_ids: (1, tokens), int64; and `document_lengths`, a tuple of
        ints, which tells the attention where documents end.
    """
    documents = [document for row in rows for document in row]
    pairs = [_ids_and_labels(document) for document in documents]
    lengths = tuple(len(document.ids) for document in documents)
    return {
        "input_ids": torch.cat([ids for ids, _ in pairs])[None],
        "labels": torch.cat([labels for _, labels in pairs])[None],
        "position_ids": torch.cat([torch.arange(n) for n in lengths])[None],
        "document_lengths": lengths,
    }


def _ids_and_labels(document: TokenRow) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(document.ids.astype(np.int64))
    labels = ids.masked_fill(torch.from_numpy(~document.scored), IGNORED_LABEL)
    labels[0] = IGNORED_LABEL
    return ids, labels
