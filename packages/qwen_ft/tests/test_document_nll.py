import math

import numpy as np
import pytest
import torch

from packages.chat_data.src.tokenization import TokenizedDocument
from packages.qwen_ft.src.document_attention import attend_within_documents
from packages.qwen_ft.src.document_nll import score_documents
from packages.qwen_ft.tests.tiny_documents import tiny_documents
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen

WHOLE = {"window_tokens": 64, "stride_tokens": 32}


def _flat_model():
    model = tiny_qwen()
    attend_within_documents(model)
    return model


def _one_at_a_time(model, documents):
    """Independent: one document, one softmax over all its logits, Python sums."""
    nats, tokens = [], []
    for document in documents:
        ids = torch.tensor(document.ids.astype("int64"))
        with torch.no_grad():
            logp = torch.log_softmax(model(input_ids=ids[None]).logits[0].double(), 1)
        scored = [t for t in range(1, len(ids)) if document.scored[t]]
        nats.append(math.fsum(-float(logp[t - 1, ids[t]]) for t in scored))
        tokens.append(len(scored))
    return nats, tokens


@pytest.mark.parametrize("batch_size", [1, 4, 16])
@pytest.mark.parametrize("make", [tiny_qwen, _flat_model], ids=["padded", "flat"])
def test_equals_a_loop_over_documents_at_any_batch_size(make, batch_size):
    documents = tiny_documents(21)
    nats, tokens = _one_at_a_time(tiny_qwen(), documents)
    scores = score_documents(make(), documents, batch_size=batch_size, **WHOLE)
    assert scores.tokens == tuple(tokens)
    assert scores.nats == pytest.approx(nats, rel=1e-5)
    expected = math.exp(math.fsum(nats) / sum(tokens))
    assert scores.perplexity == pytest.approx(expected, rel=1e-6)


def test_a_long_document_is_read_through_windows():
    # Independent: each token of the plan scored by a forward pass of its own window.
    model, document = _flat_model(), tiny_documents(1, seed=3, longest=40)[0]
    ids = np.arange(30, dtype=np.uint32)
    scored = np.ones(30, dtype=bool)
    scored[5:9] = False
    document = TokenizedDocument(ids, scored, 25)
    # Window 12, stride 5: windows end at 12, 17, 22, 27, 30 and begin 12 tokens earlier.
    expected = 0.0
    for begin, end, first in (
        (0, 12, 1),
        (5, 17, 12),
        (10, 22, 17),
        (15, 27, 22),
        (18, 30, 27),
    ):
        window = torch.arange(begin, end)[None]
        with torch.no_grad():
            logp = torch.log_softmax(tiny_qwen()(input_ids=window).logits[0], 1)
        expected -= sum(
            float(logp[t - 1 - begin, t]) for t in range(first, end) if scored[t]
        )
    found = score_documents(
        model, [document], batch_size=2, window_tokens=12, stride_tokens=5
    )
    assert found.tokens == (25,)  # 29 have a predecessor, 4 are masked
    assert found.nats[0] == pytest.approx(expected, rel=1e-5)


def test_a_document_without_scored_tokens_counts_nothing():
    silent = TokenizedDocument(np.arange(5, dtype=np.uint32), np.zeros(5, bool), 0)
    found = score_documents(
        _flat_model(), [silent, *tiny_documents(1)], batch_size=4, **WHOLE
    )
    assert found.nats[0] == 0.0 and found.tokens[0] == 0 and found.tokens[1] > 0


def test_the_mode_of_the_model_is_put_back():
    model = _flat_model().train()
    score_documents(model, tiny_documents(2), batch_size=2, **WHOLE)
    assert model.training


def test_another_family_is_scored_through_its_own_logits():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=259, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    ).eval()
    documents = tiny_documents(5)
    nats, _ = _one_at_a_time(model, documents)
    found = score_documents(model, documents, batch_size=3, **WHOLE)
    assert found.nats == pytest.approx(nats, rel=1e-5)
