"""`registry` on a folder with two versions: what it prints and how it ends."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from packages.cli.src.main import app
from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.object_store import open_store
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.canonical_json import json_sha256
from packages.model_registry.src.register import register

NAME = "tiny-lora"


def lineage(perplexity: float) -> dict:
    config = {"lora": {"r": 1}, "made": perplexity}
    return {
        "run": f"TrainingFlow/{perplexity:.0f}",
        "git_sha": None,
        "git_dirty": None,
        "config": config,
        "config_sha256": json_sha256(config),
        "data_sha256": "d" * 64,
        "tokenizer_sha256": "e" * 64,
        "template_sha256": "f" * 64,
        "base_model": {"name": "starter://tiny-qwen2", "revision": "a" * 40},
        "lock_sha256": "b" * 64,
        "image_digest": None,
        "seeds": {"training": 0},
        "metrics": {"perplexity": perplexity, "base_perplexity": 30.0},
        "gate": {
            "accepted": True,
            "rules": [
                {
                    "name": "better than the base",
                    "passed": True,
                    "reason": "0.5 is below 1",
                }
            ],
        },
        "hardware": {},
        "usage": {},
    }


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    store = open_store(str(folder / "store"))
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    for perplexity in (20.0, 10.0):
        weights = {
            f"{module}.lora_A.weight": np.full((1, 4), perplexity, np.float32),
            f"{module}.lora_B.weight": np.full((4, 1), perplexity, np.float32),
        }
        save_file(weights, folder / "adapter_model.safetensors")
        settings = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": "starter://tiny-qwen2",
            "r": 1,
            "lora_alpha": 2,
            "target_modules": ["q_proj"],
        }
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        files = {
            n: folder / n for n in ("adapter_model.safetensors", "adapter_config.json")
        }
        registered = register(store, NAME, files, lineage(perplexity))
        promote(store, NAME, registered.version)
    return str(folder / "store")


def call(registry, *words):
    return CliRunner().invoke(app, ["registry", *words, "--registry", registry])


def test_ls_shows_versions_newest_first_with_their_alias(registry):
    rows = json.loads(call(registry, "ls", "--json").stdout)

    assert [(r["version"], r["aliases"], r["perplexity"]) for r in rows] == [
        ("v1.1", "production", "10"),
        ("v1.0", "", "20"),
    ]


def test_ls_of_an_empty_folder_says_so(tmp_path):
    finished = call(str(tmp_path), "ls")

    assert finished.exit_code == 0
    assert "nothing is registered in" in finished.stdout


def test_show_names_run_base_model_and_hashes(registry):
    shown = call(registry, "show", NAME, "production").stdout

    assert "TrainingFlow/10" in shown and "starter://tiny-qwen2@" + "a" * 40 in shown
    assert "adapter_model.safetensors" in shown


def test_why_shows_the_verdict(registry):
    assert "0.5 is below 1" in call(registry, "why", NAME, "v1.0").stdout


def test_diff_names_what_differs(registry):
    fields = {
        row["field"]
        for row in json.loads(
            call(registry, "diff", NAME, "v1.0", "v1.1", "--json").stdout
        )
    }

    assert {"lineage.metrics.perplexity", "lineage.run"} <= fields
    assert "lineage.data_sha256" not in fields


def test_rollback_goes_back_and_is_in_the_history(registry):
    assert (
        "production is v1.0 (before: v1.1)" in call(registry, "rollback", NAME).stdout
    )
    moves = json.loads(call(registry, "history", NAME, "--json").stdout)
    assert [(m["what"], m["version"]) for m in moves][-1] == ("rollback", "v1.0")
    call(registry, "promote", NAME, "v1.1")


def test_verify_ends_with_65_when_a_byte_is_wrong(registry, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(registry, copy)
    assert call(str(copy), "verify").exit_code == 0
    blob = max(
        (copy / NAME / "_blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size
    )
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))

    finished = call(str(copy), "verify")

    assert finished.exit_code == 65
    assert blob.name in finished.stdout and "registry repair" in finished.stdout
    assert "objects repaired" in call(str(copy), "repair", NAME).stdout
    assert call(str(copy), "verify").exit_code == 0


def test_a_version_that_is_not_there_is_a_message_with_the_versions_there_are(registry):
    finished = call(registry, "show", NAME, "v9.9")

    assert isinstance(finished.exception, UserError)
    assert (
        "v1.0, v1.1" in finished.exception.message
        and finished.exception.exit_code == 66
    )
