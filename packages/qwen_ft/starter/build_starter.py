"""Makes packages/qwen_ft/starter/tiny-qwen2 afresh: tokenizer, pretrained weights, checksums.

python -m packages.qwen_ft.starter.build_starter [--output FOLDER] [--epochs N]
"""

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, Qwen2ForCausalLM, Qwen2Tokenizer

from packages.chat_data.src.document import Document
from packages.qwen_ft.starter.pretrain import Recipe, pretrain
from packages.qwen_ft.starter.prose import pretraining_documents
from packages.qwen_ft.starter.tokenizer import train_tokenizer

STARTER_FOLDER = Path(__file__).parent / "tiny-qwen2"
CHECKSUMS = "SHA256SUMS"
# Read when torch starts. One named instruction set, so that every machine that has it adds up in
# the same order. avx2/AVX2 makes 2,900 tokens per CPU-second of the 4,200; default/COMPATIBLE, for
# any x86-64, about a fifth.
INSTRUCTION_SET = {"ATEN_CPU_CAPABILITY": "avx512", "MKL_CBWR": "AVX512"}
THREADS = 1  # fixed: the number of threads decides the order of the sums


def build(folder: Path, recipe: Recipe) -> None:
    """Write every file of the starter model into `folder`."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    # 3 % of the time, spent on memory that is written anyway.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    documents = pretraining_documents()
    tokenizer = train_tokenizer(_tokenizer_text(document) for document in documents)
    model = pretrain(tokenizer, documents, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    _save_model(model, tokenizer, folder)
    write_checksums(folder)


def _tokenizer_text(document: Document) -> str:
    # The role names are learned as the template writes them: one token each.
    return document.text or "".join(
        f"{message.role}\n{message.content}\n" for message in document.messages
    )


def _save_model(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, folder: Path
) -> None:
    model.config.architectures = ["Qwen2ForCausalLM"]
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(folder)
    GenerationConfig(
        do_sample=False,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    # Tied: the head is the embedding, stored once.
    weights = {
        name: weight.to(torch.bfloat16).contiguous()
        for name, weight in sorted(model.state_dict().items())
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS`, in the form that `sha256sum --check` reads."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != CHECKSUMS
    ]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and log the losses and the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=STARTER_FOLDER, help="folder to write into"
    )
    parser.add_argument(
        "--epochs",
        type=float,
        default=Recipe().epochs,
        help="passes over the prose; fewer is only a try-out",
    )
    chosen = parser.parse_args(arguments)
    if unset := {k: v for k, v in INSTRUCTION_SET.items() if k not in os.environ}:
        os.environ.update(unset)
        command = [sys.executable, *sys.orig_argv[1:]]  # this very command again
        os.execv(sys.executable, command)  # noqa: S606
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(chosen.output, Recipe(epochs=chosen.epochs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
