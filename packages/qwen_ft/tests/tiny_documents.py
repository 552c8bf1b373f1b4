"""Seeded documents of uneven length and uneven masks, and the settings to train on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packages.chat_data.src.tokenization import TokenizedDocument
from packages.qwen_ft.src.config import RunConfig, resolve


def tiny_documents(
    count: int, seed: int = 0, longest: int = 40
) -> list[TokenizedDocument]:
    """Counting sequences in steps of three: something a tiny model can learn. Prompts are not scored."""
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        length = int(random.integers(4, longest + 1))
        ids = (random.integers(0, 200) + 3 * np.arange(length)) % 250
        scored = np.ones(length, dtype=bool)
        scored[: int(random.integers(1, length - 1))] = False
        documents.append(
            TokenizedDocument(
                ids.astype(np.uint32), scored, int(scored.sum())  # one byte per token
            )
        )
    return documents


def tiny_config(model: Path, *overrides: str) -> RunConfig:
    """Float32, r = 4, 8 steps of 4 documents."""
    settings: Sequence[str] = (
        f"model.name={model}",
        "quantization.load_in_4bit=false",
        "data.max_tokens=64",
        "lora.r=4",
        "lora.lora_alpha=8",
        "lora.lora_dropout=0.0",
        "lora.target_modules=all-linear",
        "training.max_steps=8",
        "training.eval_steps=4",
        "training.save_steps=4",
        "training.logging_steps=2",
        "training.per_device_train_batch_size=4",
        "training.learning_rate=0.01",
        "training.warmup_ratio=0.0",
        "training.max_grad_norm=1.0",
        "evaluation.batch_size=4",
        "evaluation.window_tokens=64",
        "evaluation.stride_tokens=32",
        "evaluation.sample_tokens=8",
    )
    return resolve({}, [*settings, *overrides])
