import torch

from packages.qwen_ft.src.fused_norms import fuse_norms
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen


def test_logits_equal_those_of_the_modules_they_replace():
    ids = torch.randint(0, 250, (2, 9), generator=torch.Generator().manual_seed(0))
    model = tiny_qwen()
    with torch.no_grad():
        wanted = model(ids).logits
        # Two layers with two norms each, and the last one.
        assert fuse_norms(model) == 5
        torch.testing.assert_close(model(ids).logits, wanted, rtol=1e-5, atol=1e-5)


def test_weights_are_float32_and_the_stream_keeps_its_format():
    model = tiny_qwen().bfloat16()
    fuse_norms(model)
    assert model.model.norm.weight.dtype == torch.float32
    assert model.model.norm(torch.ones(1, 64).bfloat16()).dtype == torch.bfloat16
