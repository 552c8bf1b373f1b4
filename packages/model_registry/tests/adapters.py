"""Small adapters that are real: written by the safetensors library, with the configuration PEFT writes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from packages.model_registry.src.manifest import Lineage, Manifest, ManifestFile

MODEL = "tiny-lora"
BASE = "Qwen/Qwen2.5-0.5B"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RANK = 2
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def tensors(value: float = 1.0) -> dict[str, Any]:
    return {
        f"{MODULE}.lora_A.weight": np.full((RANK, 4), value, np.float32),
        f"{MODULE}.lora_B.weight": np.full((6, RANK), value, np.float32),
    }


def adapter_config(**changes: Any) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": BASE,
        "revision": COMMIT,
        "r": RANK,
        "lora_alpha": 4,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj"],
        "bias": "none",
        "auto_mapping": None,
        "loftq_config": {},
        "megatron_core": "megatron.core",
        "rank_pattern": {},
    } | changes


def adapter_bytes(value: float = 1.0, more: int = 0) -> dict[str, bytes]:
    """Two files, and up to two more."""
    files = {
        WEIGHTS: save(tensors(value)),
        CONFIG: json.dumps(adapter_config()).encode(),
        "README.md": f"Adapter {value}\n".encode(),
        "evaluation.json": json.dumps({"value": value}).encode(),
    }
    return dict(list(files.items())[: 2 + more])


def adapter_files(
    folder: Path, value: float = 1.0, more: int = 0, **replaced: bytes
) -> dict[str, Path]:
    """The adapter as files in a folder of its own; `replaced` are files by name, with `__` for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    files = adapter_bytes(value, more)
    files |= {name.replace("__", "."): data for name, data in replaced.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def meta(run: str = "TrainingFlow/1", **changes: Any) -> dict[str, Any]:
    # sha256 of {} as canonical JSON: `printf '{}' | sha256sum`.
    empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    return {
        "run": run,
        "git_sha": "a" * 40,
        "git_dirty": False,
        "config": {},
        "config_sha256": empty,
        "data_sha256": "d" * 64,
        "tokenizer_sha256": "1" * 64,
        "template_sha256": "2" * 64,
        "base_model": {"name": BASE, "revision": COMMIT},
        "lock_sha256": "3" * 64,
        "image_digest": None,
        "seeds": {"training": 1},
        "metrics": {"perplexity": 8.25, "base_perplexity": 12.5},
        "gate": {"accepted": True, "rules": [{"name": "better", "passed": True}]},
        "hardware": {"device": "cpu"},
        "usage": {"train_seconds": 12.0, "tokens": 1024},
    } | changes


def manifest_for(
    files: dict[str, bytes], version: str = "v1.0", run: str = "TrainingFlow/1"
) -> Manifest:
    """A manifest without the check of names, so that protocol tests can do with one file."""
    entries = tuple(
        ManifestFile(
            path=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        for name, data in sorted(files.items())
    )
    return Manifest(
        schema_version=1,
        model=MODEL,
        version=version,
        files=entries,
        lineage=Lineage.model_validate(meta(run)),
    )
