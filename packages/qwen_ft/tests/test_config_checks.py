"""Settings against the base model, the data and the machine, before anything is paid for."""

from collections.abc import Callable

import pytest

from packages.cloud.src.exit_codes import EX_CONFIG, UserError
from packages.qwen_ft.src.config import RunConfig, resolve
from packages.qwen_ft.src.config_checks import (
    Capabilities,
    check_against_data,
    check_against_device,
    check_against_model,
    matching_modules,
    warnings_of,
)

COMMIT = "060db6499f32faf8b98477b0a26969ef7d8b9987"
# config.json of Qwen2.5-0.5B: 14 heads of 64, 2 of them for keys and values, so that the narrow
# side of k_proj and v_proj is 2 * 64 = 128.
QWEN_0_5B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
KINDS = ["q_proj", "k_proj", "v_proj", "o_proj"]
MODULES = [f"model.layers.{i}.self_attn.{kind}" for i in (0, 1) for kind in KINDS] + [
    f"model.layers.{i}.mlp.{kind}"
    for i in (0, 1)
    for kind in ("gate_proj", "up_proj", "down_proj")
]
T4 = Capabilities("Tesla T4", cuda_devices=1, bfloat16=False)
A10G = Capabilities("NVIDIA A10G", cuda_devices=1, bfloat16=True, flash_attention=True)
LAPTOP = Capabilities("CPU", cuda_devices=0, bfloat16=True)


def refused(check: Callable[[], None]) -> str:
    with pytest.raises(UserError) as refusal:
        check()
    assert refusal.value.exit_code == EX_CONFIG
    return refusal.value.message


def test_the_presets_adapter_fits_the_base_model() -> None:
    check_against_model(resolve({}), QWEN_0_5B, MODULES)
    check_against_model(
        resolve({"lora": {"target_modules": KINDS}}), QWEN_0_5B, MODULES
    )


def test_a_target_that_matches_nothing_is_named_with_the_modules_there_are() -> None:
    config = resolve({"lora": {"target_modules": ["q_proj", "value_proj"]}})
    message = refused(lambda: check_against_model(config, QWEN_0_5B, MODULES))
    assert '"value_proj", which matches no module of starter://tiny-qwen2' in message
    assert (
        "one of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
        in message
    )
    assert '"q_proj"' not in message


def test_a_near_miss_of_all_linear_is_explained() -> None:
    config = resolve({"lora": {"target_modules": "all_linear"}})
    assert "did you mean all-linear?" in refused(
        lambda: check_against_model(config, QWEN_0_5B, MODULES)
    )


def test_the_rank_may_reach_the_narrow_side_and_not_pass_it() -> None:
    check_against_model(resolve({"lora": {"r": 128}}), QWEN_0_5B, MODULES)
    config = resolve({"lora": {"r": 129}})
    message = refused(lambda: check_against_model(config, QWEN_0_5B, MODULES))
    assert "r = 129 over the 128 that k_proj of starter://tiny-qwen2" in message


def test_a_wide_rank_is_fine_where_only_wide_modules_are_targets() -> None:
    config = resolve({"lora": {"r": 512, "target_modules": ["q_proj", "o_proj"]}})
    check_against_model(config, QWEN_0_5B, MODULES)


def test_a_context_longer_than_the_positions_is_refused() -> None:
    config = resolve(
        {"data": {"max_tokens": 40000}, "evaluation": {"window_tokens": 40000}}
    )
    message = refused(lambda: check_against_model(config, QWEN_0_5B, MODULES))
    assert "The configuration has 2 problems" in message
    assert (
        "40,000 tokens for starter://tiny-qwen2; expected at most its 32,768" in message
    )


def test_weights_stored_as_float16_are_refused_under_auto() -> None:
    stored = {**QWEN_0_5B, "torch_dtype": "float16"}
    message = refused(lambda: check_against_model(resolve({}), stored, MODULES))
    assert "are stored as float16" in message
    check_against_model(
        resolve({"model": {"torch_dtype": "bfloat16"}}), stored, MODULES
    )


def test_a_trial_is_checked_as_the_run_itself() -> None:
    config = resolve({"trials": [{}, {"lora.r": 512}]})
    message = refused(lambda: check_against_model(config, QWEN_0_5B, MODULES))
    assert "trials[1].lora.r: found r = 512" in message


@pytest.mark.parametrize(
    ("target", "matched"),
    [
        ("all-linear", 14),
        (("q_proj",), 2),
        (("proj",), 0),
        (r".*\.layers\.1\.self_attn\.[qv]_proj", 2),
        ("q_proj", 0),  # peft matches an expression against the full name
    ],
)
def test_modules_are_matched_by_the_rules_of_peft(
    target: str | tuple[str, ...], matched: int
) -> None:
    assert len(matching_modules(target, MODULES)) == matched


def test_a_step_larger_than_the_data_is_refused() -> None:
    config = resolve({"training": {"gradient_accumulation_steps": 4}})
    message = refused(lambda: check_against_data(config, train_documents=31))
    assert "32 documents per optimizer step" in message
    assert "31 to train on" in message


def test_little_data_may_give_fewer_steps_than_eval_steps() -> None:
    # ceil(80 / 8) = 10 steps an epoch, 3 epochs: 30 steps, and the last is always evaluated.
    check_against_data(resolve({"training": {"eval_steps": 31}}), train_documents=80)


def test_a_hold_out_split_on_which_nothing_can_be_decided_is_refused() -> None:
    config = resolve({"training": {"eval_steps": 10}})
    check_against_data(config, 80, hold_out_documents=10)
    message = refused(lambda: check_against_data(config, 80, hold_out_documents=9))
    assert "9 hold-out documents" in message


def test_bfloat16_on_a_card_without_it_is_refused_with_a_way_out() -> None:
    config = resolve({"model": {"torch_dtype": "bfloat16"}})
    message = refused(lambda: check_against_device(config, T4))
    assert "model.torch_dtype: found bfloat16 on Tesla T4" in message
    assert "quantization.bnb_4bit_compute_dtype: found bfloat16 on Tesla T4" in message
    assert "write float32, or use a card" in message
    check_against_device(config, A10G)


@pytest.mark.parametrize(
    ("settings", "machine", "sentence"),
    [
        (
            {"model": {"device_map": "cuda:0"}},
            LAPTOP,
            "cuda:0 on CPU, which has no CUDA card",
        ),
        (
            {"model": {"device_map": "cuda:1"}},
            A10G,
            "cuda:1 on NVIDIA A10G, which has 1 CUDA",
        ),
        (
            {"model": {"attn_implementation": "flash_attention_2"}},
            LAPTOP,
            "flash_attention_2 on CPU",
        ),
        ({"training": {"optim": "paged_adamw_8bit"}}, LAPTOP, "write adamw_torch"),
        (
            {"trials": [{"training.optim": "adamw_bnb_8bit"}]},
            LAPTOP,
            "trials[0].training.optim",
        ),
    ],
)
def test_what_a_machine_cannot_do_is_refused(
    settings: dict[str, object], machine: Capabilities, sentence: str
) -> None:
    assert sentence in refused(lambda: check_against_device(resolve(settings), machine))


def test_the_same_settings_pass_where_the_machine_can() -> None:
    config = resolve(
        {
            "model": {
                "device_map": "cuda:0",
                "attn_implementation": "flash_attention_2",
            },
            "training": {"optim": "paged_adamw_8bit"},
        }
    )
    check_against_device(config, A10G)


def test_remote_code_is_allowed_from_a_pinned_commit_and_warned_about() -> None:
    config = resolve(
        {"model": {"name": "a/b", "trust_remote_code": True, "revision": COMMIT}}
    )
    (warning,) = warnings_of(config)
    assert f"from a/b at {COMMIT}" in warning


def test_the_defaults_need_no_warning() -> None:
    assert warnings_of(RunConfig()) == []
