import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src import adapter, adapter_files
from packages.qwen_ft.tests.tiny_documents import tiny_config
from packages.qwen_ft.tests.tiny_qwen import byte_tokenizer, tiny_qwen

NAME, REVISION = "org/tiny", "0" * 40


def _lora(tmp_path, *overrides):
    return tiny_config(tmp_path, *overrides).lora


def _trained(lora, seed=0):
    """An adapter whose B is not zero, as after training."""
    adapted = adapter.attach_adapter(tiny_qwen(), lora, seed)
    torch.manual_seed(seed + 1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return adapted.eval()


def _save(adapted, folder):
    adapter.save_adapter(adapted, byte_tokenizer(), NAME, REVISION, folder)
    return folder


def _logits(model):
    with torch.no_grad():
        return model(torch.arange(12)[None]).logits


def test_the_number_of_trainable_weights_is_that_of_the_formula(tmp_path):
    lora = _lora(tmp_path, "lora.target_modules=[q_proj,k_proj,v_proj,o_proj]")
    adapted = adapter.attach_adapter(tiny_qwen(), lora, 0)
    # r (inputs + outputs) per module: q, o are 64 x 64, k, v are 64 x 32; two layers.
    trainable, total = adapter.count_parameters(adapted)
    assert trainable == 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32))
    assert total == trainable + sum(p.numel() for p in tiny_qwen().parameters())
    assert adapter.target_names(adapted) == ["k_proj", "o_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (
            "all-linear",
            [
                "down_proj",
                "gate_proj",
                "k_proj",
                "o_proj",
                "q_proj",
                "up_proj",
                "v_proj",
            ],
        ),
        (r".*layers\.0\.mlp\..*", ["down_proj", "gate_proj", "up_proj"]),
        ("[q_proj]", ["q_proj"]),
    ],
    ids=["all-linear", "regex", "list"],
)
def test_targets_are_a_list_a_regex_or_all(tmp_path, targets, expected):
    lora = _lora(tmp_path, f"lora.target_modules={targets}")
    assert (
        adapter.target_names(adapter.attach_adapter(tiny_qwen(), lora, 0)) == expected
    )


@pytest.mark.parametrize("targets", ["[q_proj, query]", "query.*"])
def test_a_target_that_matches_nothing_lists_the_modules(tmp_path, targets):
    lora = _lora(tmp_path, f"lora.target_modules={targets}")
    with pytest.raises(
        UserError, match="linear modules are down_proj, gate_proj, k_proj"
    ):
        adapter.attach_adapter(tiny_qwen(), lora, 0)


def test_a_rank_wider_than_a_target_is_refused(tmp_path):
    with pytest.raises(UserError, match="lora.r is 33, but .*k_proj is 64 x 32"):
        adapter.attach_adapter(tiny_qwen(), _lora(tmp_path, "lora.r=33"), 0)


def test_rank_is_the_shape_and_alpha_the_scale_of_the_update(tmp_path):
    folder = _save(_trained(_lora(tmp_path, "lora.r=8")), tmp_path / "a")
    shapes = {
        n: tuple(t.shape)
        for n, t in load_file(folder / adapter_files.WEIGHTS_FILE).items()
    }
    assert {s[0] for n, s in shapes.items() if "lora_A" in n} == {8}
    updates = []
    for alpha in (8, 16):
        adapted = _trained(_lora(tmp_path, f"lora.lora_alpha={alpha}"))
        layer = adapted.get_base_model().model.layers[0].self_attn.q_proj
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.testing.assert_close(layer.get_delta_weight("default"), alpha / 4 * b @ a)
        updates.append(layer.get_delta_weight("default"))
    torch.testing.assert_close(updates[1], 2 * updates[0])


def test_a_new_adapter_changes_nothing_and_a_trained_one_does(tmp_path):
    # What a bare add_adapter gives: random A, zero B. It must not pass for a trained one.
    lora = _lora(tmp_path)
    base = _logits(tiny_qwen())
    new = adapter.attach_adapter(tiny_qwen(), lora, 0).eval()
    assert torch.equal(_logits(new), base)
    assert not torch.allclose(_logits(_trained(lora)), base, atol=1e-3)


def test_saving_and_loading_gives_the_same_logits(tmp_path):
    trained = _trained(_lora(tmp_path))
    loaded = adapter.load_adapter(tiny_qwen(), _save(trained, tmp_path / "a"), NAME)
    assert torch.equal(_logits(loaded), _logits(trained))


def test_the_same_weights_give_the_same_bytes(tmp_path):
    folders = [_save(_trained(_lora(tmp_path)), tmp_path / name) for name in "ab"]
    contents = [{p.name: p.read_bytes() for p in f.iterdir()} for f in folders]
    assert contents[0] == contents[1]
    assert adapter_files.adapter_sha256(folders[0]) == adapter_files.adapter_sha256(
        folders[1]
    )
    config = json.loads(contents[0][adapter_files.CONFIG_FILE])
    assert config["base_model_name_or_path"] == NAME
    assert config["target_modules"] == sorted(config["target_modules"])
    assert {"tokenizer.json", "chat_template.jinja"} <= contents[0].keys()


def test_weights_take_the_number_format_of_the_base(tmp_path):
    adapted = adapter.attach_adapter(tiny_qwen().bfloat16(), _lora(tmp_path), 0)
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {
        torch.bfloat16
    }


def _damage(folder, how):
    weights = folder / adapter_files.WEIGHTS_FILE
    tensors = load_file(weights)
    first = sorted(tensors)[0]
    if how == "nan":
        tensors[first] = tensors[first] * float("nan")
    if how == "missing":
        del tensors[first]
    save_file(tensors, weights)
    if how == "pickle":
        weights.rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("how", "base", "match"),
    [
        ("nan", NAME, "weights that are not finite"),
        ("missing", NAME, "does not fit the model: 1 weights"),
        ("pickle", NAME, "has no adapter_model.safetensors"),
        ("intact", "org/other", "was made for org/tiny, the base is org/other"),
    ],
)
@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_what_is_not_the_trained_adapter_is_refused(tmp_path, how, base, match):
    folder = _save(_trained(_lora(tmp_path)), tmp_path / "a")
    _damage(folder, how)
    with pytest.raises(UserError, match=match):
        adapter.load_adapter(tiny_qwen(), folder, base)
