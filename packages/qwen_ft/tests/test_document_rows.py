import numpy as np

from packages.chat_data.src.tokenization import TokenizedDocument
from packages.evaluation.src.perplexity import IGNORED_LABEL
from packages.qwen_ft.src.document_rows import (
    DocumentRows,
    flatten_documents,
    pad_documents,
)
from packages.qwen_ft.tests.tiny_documents import tiny_documents


def _two_documents():
    first = TokenizedDocument(
        np.array([5, 6, 7], np.uint32), np.array([True, False, True]), 1
    )
    second = TokenizedDocument(np.array([8, 9], np.uint32), np.array([False, True]), 1)
    return [(first,), (second,)]


def test_a_flat_batch_by_hand():
    batch = flatten_documents(_two_documents())
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["document_lengths"] == (3, 2)
    # The first token of a document is never a target, marked or not.
    none = IGNORED_LABEL
    assert batch["labels"].tolist() == [[none, none, 7, none, 9]]


def test_a_padded_batch_by_hand():
    batch = pad_documents(_two_documents(), pad_token_id=1)
    none = IGNORED_LABEL
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[none, none, 7], [none, 9, none]]


def test_both_forms_score_the_same_tokens():
    rows = [(document,) for document in tiny_documents(9)]
    flat, padded = flatten_documents(rows), pad_documents(rows, 1)
    scored = [
        b["labels"][b["labels"] != IGNORED_LABEL].tolist() for b in (flat, padded)
    ]
    assert scored[0] == scored[1]


def test_packed_rows_hold_their_documents_in_order():
    documents = tiny_documents(5)
    rows = DocumentRows(documents, [[3, 0], [4], [1, 2]])
    assert len(rows) == 3
    assert rows[0] == (documents[3], documents[0])
    assert len(DocumentRows(documents)) == 5
