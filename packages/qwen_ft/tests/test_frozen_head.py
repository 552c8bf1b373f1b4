import pytest
import torch

from packages.evaluation.src.perplexity import summed_nll
from packages.qwen_ft.src import adapter, frozen_head
from packages.qwen_ft.src.document_rows import pad_documents
from packages.qwen_ft.src.frozen_head import FrozenHeadLoss, token_nll, use_frozen_head
from packages.qwen_ft.tests.tiny_documents import tiny_config, tiny_documents
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen


def _random_head():
    torch.manual_seed(0)
    hidden = torch.randn(13, 8, requires_grad=True)
    return hidden, torch.randn(50, 8), torch.randint(0, 50, (13,))


@pytest.mark.parametrize("chunk", [1, 150, 10_000_000], ids=["1", "3", "all"])
def test_loss_and_gradient_equal_torchs_cross_entropy(chunk, monkeypatch):
    monkeypatch.setattr(frozen_head, "CHUNK_LOGITS", chunk)
    hidden, weight, targets = _random_head()
    ours = FrozenHeadLoss.apply(hidden, weight, targets)
    theirs = torch.nn.functional.cross_entropy(
        hidden @ weight.T, targets, reduction="sum"
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    (got,) = torch.autograd.grad(3 * ours, hidden)
    (wanted,) = torch.autograd.grad(3 * theirs, hidden)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_token_nll_equals_the_whole_computation(monkeypatch):
    monkeypatch.setattr(frozen_head, "CHUNK_LOGITS", 100)
    hidden, weight, targets = _random_head()
    wanted = -torch.log_softmax(hidden @ weight.T, 1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(token_nll(hidden, weight, targets), wanted)


def test_no_scored_token_gives_a_loss_of_zero():
    hidden, weight, _ = _random_head()
    loss = FrozenHeadLoss.apply(hidden[:0], weight, torch.zeros(0, dtype=torch.long))
    assert loss.item() == 0.0
    loss.backward()


def _losses(model, batch):
    model.train()
    loss = model(**batch, num_items_in_batch=40).loss
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return loss.item(), gradients


def test_a_models_loss_and_adapter_gradients_equal_the_plain_path(tmp_path):
    lora = tiny_config(tmp_path).lora
    batch = pad_documents([(d,) for d in tiny_documents(5)], 257)
    plain = adapter.attach_adapter(tiny_qwen(), lora, 0)
    fast = adapter.attach_adapter(tiny_qwen(), lora, 0)
    for model in (plain, fast):  # B starts at zero, where A has no gradient
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.manual_seed(1)
                parameter.data.normal_(0, 0.1)
    assert use_frozen_head(fast)
    (loss, gradients), (fast_loss, fast_gradients) = _losses(plain, batch), _losses(
        fast, batch
    )
    assert fast_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=1e-4, atol=1e-6)
    # Independent of both: the exact sum over the logits.
    with torch.no_grad():
        logits = plain(
            batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    assert loss == pytest.approx(summed_nll(logits, batch["labels"])[0] / 40, rel=1e-5)


def test_an_adapter_on_the_head_keeps_the_plain_path(tmp_path):
    lora = tiny_config(tmp_path, "lora.target_modules=[q_proj]").lora
    model = tiny_qwen()
    adapted = adapter.attach_adapter(model, lora, 0)
    model.get_output_embeddings().weight.requires_grad = True
    assert not use_frozen_head(adapted)
