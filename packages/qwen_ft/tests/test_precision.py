import pytest
import torch

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src import precision
from packages.qwen_ft.src.base_model import load_base_model, resolve_base_model
from packages.qwen_ft.tests.tiny_documents import tiny_config
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen, write_tiny_model

CPU = torch.device("cpu")


def _load(folder, *overrides, training=True):
    config = tiny_config(folder, "quantization.load_in_4bit=true", *overrides)
    pin = resolve_base_model(config.model)
    return load_base_model(pin, config.model, config.quantization, training=training)


def test_settings_appear_in_the_models_quantization_config(tmp_path):
    found = _load(
        write_tiny_model(tmp_path / "m"), "quantization.bnb_4bit_quant_type=fp4"
    ).model.config.quantization_config
    assert found.load_in_4bit and found.bnb_4bit_use_double_quant
    assert found.bnb_4bit_quant_type == "fp4"


def test_four_bits_take_less_memory_and_double_quantisation_less_still(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    # 49,152 weights in linear layers: two layers of 2*64*64 + 2*64*32 + 3*64*128.
    weights = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    whole = _load(folder, "quantization.load_in_4bit=false").weight_bytes
    single = _load(folder, "quantization.bnb_4bit_use_double_quant=false").weight_bytes
    double = _load(folder).weight_bytes
    # Single: half a byte per weight, a float32 scale per 64 weights, 64 bytes of code per matrix.
    assert whole - single == weights * 4 - weights // 2 - weights // 64 * 4 - 14 * 64
    # Double: the scales take 1 byte instead of 4: 0.375 bit per weight, less what 14 small
    # matrices pay for their own tables of 1,024 + 4 + 4 bytes.
    assert single - double == weights // 64 * 3 - 14 * (1024 + 4 + 4)


def test_norms_are_float32_and_only_linear_layers_are_quantised(tmp_path):
    loaded = _load(write_tiny_model(tmp_path / "m", dtype="bfloat16"))
    kinds = {
        type(m).__name__ for n, m in loaded.model.named_modules() if n.endswith("proj")
    }
    assert kinds == {"Linear4bit"}
    norms = {m.weight.dtype for n, m in loaded.model.named_modules() if "norm" in n}
    assert norms == {torch.float32}
    assert "4-bit nf4, double-quantised" in loaded.precision


def test_training_and_evaluation_mode_give_equal_logits_in_4_bit(tmp_path):
    model = _load(write_tiny_model(tmp_path / "m")).model
    ids = torch.arange(10)[None]
    with torch.no_grad():
        trained = model.train()(ids).logits
        evaluated = model.eval()(ids).logits
        again = model.train()(ids).logits
    assert torch.equal(trained, evaluated) and torch.equal(trained, again)


def test_4_bit_layers_keep_the_training_layout(tmp_path):
    model = _load(write_tiny_model(tmp_path / "m")).model
    layers = [m for m in model.modules() if type(m).__name__ == "Linear4bit"]
    assert layers and not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_evaluation_widens_everything_that_is_not_4_bit(tmp_path):
    folder = write_tiny_model(tmp_path / "m", dtype="bfloat16")
    loaded = _load(folder, "model.torch_dtype=bfloat16", training=False)
    formats = {p.dtype for p in loaded.model.parameters()}
    assert formats == {torch.float32, torch.uint8}
    assert "float32 products" in loaded.precision


def test_automatic_bfloat16_becomes_float32_where_there_is_none(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    dtype, notes = precision.pick_dtype("auto", "bfloat16", CPU)
    assert dtype == torch.float32 and "float32 is used instead" in notes[0]
    dtype, notes = precision.pick_dtype("bfloat16", "float32", CPU)
    assert dtype == torch.bfloat16 and "in software" in notes[0]


def test_bfloat16_is_refused_on_a_card_without_it(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(precision, "_named", lambda device: "Tesla T4")
    with pytest.raises(UserError, match="Tesla T4 cannot compute in. Use float32"):
        precision.pick_dtype("bfloat16", "bfloat16", torch.device("cuda", 0))


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.device_count() == 0:
        with pytest.raises(UserError, match=r"cuda:0, but torch sees 0 GPU") as caught:
            precision.pick_device("cuda:0")
        assert caught.value.exit_code == 69
    assert precision.pick_device("cpu") == CPU


def test_tied_weights_are_counted_once():
    model = tiny_qwen()
    parameters = sum(p.numel() for p in model.parameters())
    buffers = sum(b.numel() for b in model.buffers())
    assert precision.weight_bytes(model) == 4 * (parameters + buffers)
