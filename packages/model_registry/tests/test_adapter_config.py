"""Hostile adapter_config.json files: PEFT would import, read or build what they ask for."""

import json
import re
from typing import Any

import pytest

from packages.model_registry.src.adapter_config import parsed_adapter_config
from packages.model_registry.tests.adapters import BASE, COMMIT, adapter_config

# Written by peft 0.21.2, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]).save_pretrained.
PEFT_0_21_2 = """{"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
"auto_mapping": null, "base_model_name_or_path": "Qwen/Qwen2.5-0.5B", "bias": "none", "corda_config": null,
"ensure_weight_tying": false, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
"inference_mode": false, "init_lora_weights": true, "kasa_config": null, "layer_replication": null,
"layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false,
"lora_dropout": 0.0, "lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core",
"modules_to_save": null, "monteclora_config": null, "peft_type": "LORA", "peft_version": "0.21.2",
"qalora_group_size": 16, "r": 8, "rank_pattern": {}, "revision": null, "target_modules": ["v_proj", "q_proj"],
"target_parameters": null, "task_type": "CAUSAL_LM", "trainable_token_indices": null, "use_bdlora": null,
"use_dora": false, "use_qalora": false, "use_rslora": false, "velora_config": null}"""

ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "other base": ({"base_model_name_or_path": "evil/model"}, "evil/model"),
    "base on disk": ({"base_model_name_or_path": "/tmp/model"}, "/tmp/model"),
    "other revision": ({"revision": "f" * 40}, "revision is 'ffff"),
    "branch": ({"revision": "main"}, "revision is 'main'"),
    "auto mapping": (
        {"auto_mapping": {"base_model_class": "X", "parent_library": "os"}},
        "auto_mapping",
    ),
    "megatron module": ({"megatron_core": "os.path"}, "megatron_core"),
    "megatron config": ({"megatron_config": {"a": 1}}, "megatron_config"),
    "remote code": ({"trust_remote_code": True}, "Extra inputs"),
    "auto map": ({"auto_map": {"AutoModel": "evil.Model"}}, "Extra inputs"),
    "rank 10**9": ({"r": 10**9}, "r: .*less than or equal to 1024"),
    "rank 0": ({"r": 0}, "r: "),
    "negative rank": ({"r": -8}, "r: "),
    "rank as text": ({"r": "8"}, "r: "),
    "rank true": ({"r": True}, "r: "),
    "huge rank pattern": ({"rank_pattern": {"q_proj": 10**9}}, "rank_pattern"),
    "negative alpha": ({"lora_alpha": -1}, "lora_alpha"),
    "alpha 10**30": ({"lora_alpha": 1e30}, "lora_alpha"),
    "dropout 1": ({"lora_dropout": 1}, "lora_dropout"),
    "unknown method": ({"peft_type": "EVIL"}, "peft_type"),
    "other method": ({"peft_type": "PROMPT_TUNING"}, "peft_type"),
    "other task": ({"task_type": "FEATURE_EXTRACTION"}, "task_type"),
    "no targets": ({"target_modules": []}, "target_modules"),
    "path as target": ({"target_modules": ["../x"]}, "target_modules"),
    "long pattern": ({"target_modules": "(a+)+" * 100}, "target_modules"),
    "extra weights": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "bias": ({"bias": "all"}, "bias"),
    "loftq": ({"loftq_config": {"loftq_bits": 4}}, "loftq_config"),
    "eva": ({"eva_config": {"rho": 2}}, "eva_config"),
    "initial weights from a path": ({"init_lora_weights": "/x"}, "init_lora_weights"),
    "new layers": ({"layer_replication": [[0, 999]]}, "layer_replication"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_configuration_is_refused_with_its_reason(attack: str) -> None:
    changes, reason = ATTACKS[attack]
    data = json.dumps(adapter_config(**changes)).encode()
    _, problems = parsed_adapter_config(data, BASE, COMMIT)
    assert match_in(problems, reason), problems


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"r": 8, "r": 9}', "'r' is there twice"),
        (b'{"lora_alpha": NaN}', "NaN is no JSON number"),
        (b'{"lora_alpha": Infinity}', "Infinity is no JSON number"),
        (b"[" * 5000, "nested deeper"),
        (b" " * 300_000, "at most 262,144"),
        (b"[]", "Input should be an object"),
    ],
)
def test_what_is_no_configuration_is_refused(data: bytes, reason: str) -> None:
    config, problems = parsed_adapter_config(data, BASE, COMMIT)
    assert config is None
    assert match_in(problems, reason), problems


def test_what_peft_writes_is_accepted() -> None:
    config, problems = parsed_adapter_config(PEFT_0_21_2.encode(), BASE, COMMIT)
    assert problems == []
    assert config is not None
    assert (config.r, config.lora_alpha) == (8, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"revision": None},
        {"use_dora": True},
        {"use_rslora": True},
        {"target_modules": r".*\.(q|v)_proj"},
        {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 8}},
        {"layers_to_transform": [0, 1]},
        {"init_lora_weights": "pissa"},
        {"exclude_modules": ["lm_head"]},
    ],
)
def test_the_variants_of_lora_are_accepted(changes: dict[str, Any]) -> None:
    data = json.dumps(adapter_config(**changes)).encode()
    assert parsed_adapter_config(data, BASE, COMMIT)[1] == []


def test_a_module_may_have_a_rank_of_its_own() -> None:
    data = json.dumps(adapter_config(rank_pattern={"q_proj": 5})).encode()
    config, _ = parsed_adapter_config(data, BASE, COMMIT)
    assert config is not None
    assert config.rank_of("model.layers.0.self_attn.q_proj") == 5
    assert config.rank_of("model.layers.0.self_attn.k_proj") == 2
    assert config.rank_of("model.layers.0.self_attn.seq_proj") == 2


def match_in(problems: list[str], reason: str) -> bool:
    return any(re.search(reason, problem) for problem in problems)
