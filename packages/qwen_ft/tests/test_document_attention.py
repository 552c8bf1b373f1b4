import pytest
import torch

from packages.qwen_ft.src import document_attention
from packages.qwen_ft.src.document_attention import attend_within_documents
from packages.qwen_ft.src.document_rows import flatten_documents, pad_documents
from packages.qwen_ft.tests.tiny_documents import tiny_documents
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen


def _alone(model, document):
    ids = torch.tensor(document.ids.astype("int64"))[None]
    with torch.no_grad():
        return model(input_ids=ids).logits[0]


def _flat(model, documents):
    batch = flatten_documents([(document,) for document in documents])
    batch.pop("labels")
    with torch.no_grad():
        return model(**batch).logits[0]


@pytest.mark.parametrize("limit", [600, 1], ids=["plain products", "flash kernel"])
def test_a_packed_document_gives_the_logits_it_gives_alone(limit, monkeypatch):
    monkeypatch.setattr(document_attention, "_PLAIN_LIMIT", limit)
    documents = tiny_documents(6)
    expected = torch.cat(
        [_alone(tiny_qwen(), d) for d in documents]
    )  # torch's own sdpa
    packed = tiny_qwen()
    attend_within_documents(packed)
    torch.testing.assert_close(_flat(packed, documents), expected, rtol=1e-5, atol=1e-5)


def test_positions_that_run_on_give_other_logits():
    # What the equality above would miss if positions did not matter to this model.
    documents = tiny_documents(3)
    packed = tiny_qwen()
    attend_within_documents(packed)
    batch = flatten_documents([(document,) for document in documents])
    batch.pop("labels")
    batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None] * 7
    with torch.no_grad():
        running_on = packed(**batch).logits[0]
    assert (running_on - _flat(packed, documents)).abs().max() > 1e-2


def test_gradients_equal_those_of_torchs_attention():
    torch.manual_seed(0)
    q = torch.randn(1, 4, 12, 8, requires_grad=True)
    k = torch.randn(1, 2, 12, 8, requires_grad=True)
    v = torch.randn(1, 2, 12, 8, requires_grad=True)
    ours, _ = document_attention.document_attention(
        torch.nn.Module(), q, k, v, None, document_lengths=(5, 7)
    )
    parts = []
    for s in (slice(0, 5), slice(5, 12)):
        part = torch.nn.functional.scaled_dot_product_attention(
            q[:, :, s], k[:, :, s], v[:, :, s], is_causal=True, enable_gqa=True
        )
        parts.append(part.transpose(1, 2))
    theirs = torch.cat(parts, 1)
    seed = torch.randn_like(theirs)
    for got, wanted in zip(
        torch.autograd.grad(ours, (q, k, v), seed, retain_graph=True),
        torch.autograd.grad(theirs, (q, k, v), seed),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_padded_batches_still_respect_their_mask():
    documents = tiny_documents(4)
    model, reference = tiny_qwen(), tiny_qwen()
    attend_within_documents(model)
    batch = pad_documents([(d,) for d in documents], 257)
    batch.pop("labels")
    with torch.no_grad():
        got, wanted = model(**batch).logits, reference(**batch).logits
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(got[real], wanted[real], rtol=1e-5, atol=1e-5)


def test_lengths_that_do_not_cover_the_row_are_refused():
    q = torch.zeros(1, 2, 5, 4)
    with pytest.raises(ValueError, match="4 tokens together, the row has 5"):
        document_attention.document_attention(
            torch.nn.Module(), q, q, q, None, document_lengths=(2, 2)
        )
