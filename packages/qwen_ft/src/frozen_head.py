"""Loss of a language model whose output head is frozen, without ever holding all its logits.

In LoRA the head needs no gradient of its own, so one pass over chunks of scored tokens gives both
the loss and its gradient with respect to the hidden states: two matrix products per scored token,
nothing recomputed, and memory of one chunk. Invariant: same loss and gradients as the plain head.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from packages.evaluation.src.perplexity import IGNORED_LABEL

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# Families without soft caps or scales on logits and attention scores; others keep the plain path.
PLAIN_FAMILIES = ("qwen2", "qwen3", "llama", "mistral")
CHUNK_LOGITS = 16_000_000  # logits held at a time: 64 MB in float32


class FrozenHeadLoss(torch.autograd.Function):
    """Summed NLL of `targets` under softmax(hidden @ weight.T); the weight gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Args: hidden (tokens, width), weight (vocab, width), targets (tokens,) int64.

        Returns: (), float32, in nats.
        """
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for begin, end in _chunks(len(targets), weight.shape[0]):
            logits = (hidden[begin:end].to(weight.dtype) @ weight.T).float()
            picked = targets[begin:end, None]
            peak = torch.logsumexp(logits, 1, keepdim=True)
            total += (peak - logits.gather(1, picked)).sum()
            if gradient is not None:
                logits.sub_(peak).exp_()
                logits.scatter_add_(1, picked, torch.full_like(peak, -1.0))
                gradient[begin:end] = (logits.to(weight.dtype) @ weight).to(
                    hidden.dtype
                )
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(
        ctx: Any, grad_output: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output.to(gradient.dtype), None, None


def token_nll(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """-ln p of each target in nats, float32 (tokens,); logits in float32, one chunk at a time."""
    parts = [hidden.new_zeros(0, dtype=torch.float32)]
    for begin, end in _chunks(len(targets), weight.shape[0]):
        logits = (hidden[begin:end].to(weight.dtype) @ weight.T).float()
        parts.append(cross_entropy(logits, targets[begin:end], reduction="none"))
    return torch.cat(parts)


def _chunks(n_tokens: int, vocabulary: int) -> list[tuple[int, int]]:
    size = max(1, CHUNK_LOGITS // vocabulary)
    return [(i, min(i + size, n_tokens)) for i in range(0, n_tokens, size)]


def scored_hidden(
    hidden: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states that predict a scored token, (tokens, width), and those tokens, (tokens,)."""
    targets = labels[:, 1:]
    scored = targets != IGNORED_LABEL
    return hidden[:, :-1][scored], targets[scored]


def head_is_plain(model: "PreTrainedModel") -> bool:
    """Whether logits are exactly hidden @ weight.T: a known family, one matrix, no adapter on it."""
    head = model.get_output_embeddings()
    return (
        model.config.model_type in PLAIN_FAMILIES
        and type(head) is nn.Linear
        and head.bias is None
        and head.weight.is_floating_point()
    )


def use_frozen_head(adapted: "PeftModel") -> bool:
    """Compute training losses with FrozenHeadLoss where the head allows it; True if it does.

    Only calls with `labels` change: they return a loss and no logits.
    """
    model = adapted.get_base_model()
    if not head_is_plain(model) or model.get_output_embeddings().weight.requires_grad:
        return False
    plain = type(model).forward

    def forward(
        self: "PreTrainedModel",
        *args: Any,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> Any:
        if labels is None:
            return plain(self, *args, **kwargs)
        from transformers.modeling_outputs import CausalLMOutputWithPast

        hidden = self.model(*args, use_cache=False, **kwargs).last_hidden_state
        rows, targets = scored_hidden(hidden, labels)
        nats = FrozenHeadLoss.apply(  # type: ignore[no-untyped-call]
            rows, self.get_output_embeddings().weight, targets
        )
        return CausalLMOutputWithPast(loss=nats / _items(num_items_in_batch, targets))

    model.forward = MethodType(forward, model)
    return True


def _items(num_items_in_batch: torch.Tensor | int | None, targets: torch.Tensor) -> Any:
    return max(len(targets), 1) if num_items_in_batch is None else num_items_in_batch
