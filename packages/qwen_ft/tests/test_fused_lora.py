import pytest
import torch

from packages.qwen_ft.src import adapter, fused_lora
from packages.qwen_ft.src.base_model import load_base_model, resolve_base_model
from packages.qwen_ft.src.fused_lora import fuse_lora, keep_mask
from packages.qwen_ft.tests.tiny_documents import tiny_config
from packages.qwen_ft.tests.tiny_qwen import write_tiny_model


def _adapted(config):
    loaded = load_base_model(
        resolve_base_model(config.model),
        config.model,
        config.quantization,
        training=True,
    )
    adapted = adapter.attach_adapter(loaded.model, config.lora, 0)
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return adapted.train()


def _logits_and_gradients(adapted):
    ids = torch.randint(0, 250, (2, 9), generator=torch.Generator().manual_seed(0))
    logits = adapted(ids).logits
    logits.square().mean().backward()
    return logits, {n: p.grad for n, p in adapted.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    "precision",
    [
        ("quantization.load_in_4bit=false",),
        (
            "quantization.load_in_4bit=true",
            "quantization.bnb_4bit_compute_dtype=float32",
        ),
    ],
    ids=["float32", "nf4"],
)
@pytest.mark.parametrize("merge", [True, False], ids=["merged", "thin"])
def test_outputs_and_gradients_equal_pefts(tmp_path, monkeypatch, precision, merge):
    monkeypatch.setattr(fused_lora, "merging_pays", lambda *sizes: merge)
    config = tiny_config(write_tiny_model(tmp_path / "model"), *precision)
    plain, fused = _adapted(config), _adapted(config)
    assert fuse_lora(fused) == 14  # two layers, seven linear modules each
    logits, gradients = _logits_and_gradients(plain)
    fused_logits, fused_gradients = _logits_and_gradients(fused)
    torch.testing.assert_close(fused_logits, logits, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            fused_gradients[name], gradient, rtol=1e-4, atol=1e-6
        )


def test_a_switched_off_adapter_leaves_the_base(tmp_path):
    config = tiny_config(write_tiny_model(tmp_path / "model"))
    adapted = _adapted(config)
    fuse_lora(adapted)
    ids = torch.arange(8)[None]
    with torch.no_grad(), adapted.disable_adapter():
        off = adapted(ids).logits
    base = load_base_model(
        resolve_base_model(config.model),
        config.model,
        config.quantization,
        training=False,
    )
    with torch.no_grad():
        torch.testing.assert_close(off, base.model(ids).logits)


def test_dora_keeps_pefts_own_forward(tmp_path):
    config = tiny_config(write_tiny_model(tmp_path / "model"), "lora.use_dora=true")
    assert fuse_lora(_adapted(config)) == 0


def test_dropout_keeps_the_configured_share_and_the_mean():
    torch.manual_seed(0)
    mask = keep_mask(torch.zeros(400, 500), 0.1)
    # 200,000 draws: five standard deviations of the share are 0.0034, of the mean 0.0037.
    assert (mask == 0).float().mean().item() == pytest.approx(0.1, abs=0.0034)
    assert mask.mean().item() == pytest.approx(1.0, abs=0.0038)
    # Neighbours, which share a 64-bit draw, are independent: 0.01 +- 5 * 0.00022.
    both = ((mask[:, :-1] == 0) & (mask[:, 1:] == 0)).float().mean().item()
    assert both == pytest.approx(0.01, abs=0.0012)


def test_dropout_is_active_in_training_and_off_in_evaluation(tmp_path):
    config = tiny_config(write_tiny_model(tmp_path / "model"), "lora.lora_dropout=0.5")
    adapted = _adapted(config)
    fuse_lora(adapted)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        trained = [adapted(ids).logits for _ in range(2)]
        adapted.eval()
        evaluated = [adapted(ids).logits for _ in range(2)]
    assert not torch.equal(*trained)
    assert torch.equal(*evaluated)
