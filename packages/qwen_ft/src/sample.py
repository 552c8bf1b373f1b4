"""Answers of base and tuned model to the same prompts, to read side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from packages.qwen_ft.src.document_rows import TokenRow
from packages.qwen_ft.src.evaluation_report import Answer, Sample

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

TEXT_PROMPT_TOKENS = 16  # of a document without turns
STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids to continue, and what the document itself says next (may be empty)."""

    ids: tuple[int, ...]
    reference: tuple[int, ...] = ()


def prompt_of_document(document: TokenRow) -> Prompt:
    """Everything before the first scored token, or the first tokens of plain text."""
    scored = np.flatnonzero(document.scored)
    begin = int(scored[0]) if len(scored) else len(document.ids)
    if begin <= 1:
        begin = max(1, min(TEXT_PROMPT_TOKENS, len(document.ids) // 2))
    gaps = np.flatnonzero(~document.scored[begin:])
    end = begin + int(gaps[0]) if len(gaps) else len(document.ids)
    ids = document.ids.tolist()
    return Prompt(tuple(ids[:begin]), tuple(ids[begin:end]))


def prompt_of_text(
    tokenizer: "PreTrainedTokenizerBase", text: str, system_message: str | None
) -> Prompt:
    """A user's turn in the chat template, or the bare text where the tokenizer has none."""
    if not tokenizer.chat_template:
        return Prompt(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))
    system = [{"role": "system", "content": system_message}] if system_message else []
    ids: Any = tokenizer.apply_chat_template(
        [*system, {"role": "user", "content": text}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return Prompt(tuple(ids))


def answer_prompts(
    adapted: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[Sample, ...]:
    """Both models continue each prompt until they stop by themselves or reach `max_tokens`.

    Args:
        temperature: 0 takes the likeliest token; above, draws with `seed`.
    """
    if not prompts:
        return ()
    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
    }
    tuned = _continue(adapted, tokenizer, prompts, **settings)
    with adapted.disable_adapter():
        base = _continue(adapted, tokenizer, prompts, **settings)
    return tuple(
        Sample(
            prompt=tokenizer.decode(prompt.ids),
            reference=tokenizer.decode(prompt.reference, skip_special_tokens=True),
            base=base[i],
            tuned=tuned[i],
        )
        for i, prompt in enumerate(prompts)
    )


def _continue(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> list[Answer]:
    from transformers import GenerationConfig

    stops = _stop_ids(tokenizer)
    longest = max(len(prompt.ids) for prompt in prompts)
    ids = torch.full((len(prompts), longest), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[line, longest - len(prompt.ids) :] = 1
    drawn = {"do_sample": True, "temperature": temperature} if temperature > 0 else {}
    torch.manual_seed(seed)
    with torch.no_grad():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                eos_token_id=stops,
                pad_token_id=tokenizer.pad_token_id,
                **({"do_sample": False} | drawn),
            ),
        )
    return [_answer(tokenizer, line, stops) for line in out[:, longest:].tolist()]


def _stop_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    known = tokenizer.get_vocab()
    ids = {known[token] for token in STOP_TOKENS if token in known}
    return sorted(ids | ({tokenizer.eos_token_id} - {None}))


def _answer(
    tokenizer: "PreTrainedTokenizerBase", ids: list[int], stops: list[int]
) -> Answer:
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    own = ids if end is None else ids[:end]
    text = tokenizer.decode(own, skip_special_tokens=True)
    return Answer(text=str(text), stopped=end is not None, tokens=len(own))
