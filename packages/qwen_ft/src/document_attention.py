"""Causal attention that stays inside each document of a flat row; no mask is ever built.

Invariant: the output of a document in a flat row equals its output alone.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION_NAME = "within_documents"
# Up to this length plain products beat torch's flash kernel on the CPU (PERFORMANCE notes, 600).
_PLAIN_LIMIT = 600


def attend_within_documents(model: "PreTrainedModel") -> None:
    """Make `model` use `document_attention` in every layer; batches without lengths work as before."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION_NAME, document_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, _mask_for_padded_batches)
    model.set_attn_implementation(ATTENTION_NAME)


def _mask_for_padded_batches(
    *args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any
) -> torch.Tensor | None:
    """The usual mask where the batch has one (padding, generation), none for flat rows."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is None:
        return None
    mask: torch.Tensor | None = sdpa_mask(
        *args, attention_mask=attention_mask, **kwargs
    )
    return mask


def document_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    document_lengths: tuple[int, ...] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each document over itself.

    Args:
        query: (1, heads, tokens, head size).
        key, value: (1, key heads, tokens, head size); heads is a multiple of key heads.
        document_lengths: tokens of each document, in order; their sum is `tokens`. None: one
            ordinary batch, left to torch's scaled-dot-product attention.

    Returns:
        (1, tokens, heads, head size), and None in place of the attention weights.
    """
    if document_lengths is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **kwargs,
        )
    if sum(document_lengths) != query.shape[2]:
        raise ValueError(
            f"The documents have {sum(document_lengths)} tokens together, the row has "
            f"{query.shape[2]}. Pass the lengths of exactly the documents in the row."
        )
    window = kwargs.get("sliding_window")
    if dropout or (window is not None and max(document_lengths) > window):
        raise ValueError(
            f"attention dropout {dropout} and sliding window {window} are not part of attention "
            "within documents. Train such a model with padded rows."
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cuda" and query.dtype != torch.float32:
        return _by_varlen_kernel(query, key, value, scale, document_lengths), None
    return _by_document(query[0], key[0], value[0], scale, document_lengths)[None], None


def _by_document(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    lengths: tuple[int, ...],
) -> torch.Tensor:
    """(heads, tokens, size) of query and grouped keys to (tokens, heads, size)."""
    parts = []
    for q, k, v in zip(
        *(torch.split(t, list(lengths), 1) for t in (query, key, value)),
        strict=True,
    ):
        attend = _plain if q.shape[1] <= _PLAIN_LIMIT else _flash
        parts.append(attend(q, k, v, scale))
    return torch.cat(parts)


def _plain(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> torch.Tensor:
    heads, n_tokens, size = q.shape
    groups = heads // k.shape[0]
    grouped = q.reshape(k.shape[0], groups * n_tokens, size)
    scores = torch.baddbmm(
        _causal_bias(n_tokens, groups, q.dtype), grouped, k.transpose(1, 2), alpha=scale
    )
    out = torch.bmm(torch.softmax(scores, -1, dtype=torch.float32).to(v.dtype), v)
    return out.view(heads, n_tokens, size).transpose(0, 1)


_BIASES: dict[tuple[int, int, torch.dtype], torch.Tensor] = {}


def _causal_bias(n_tokens: int, groups: int, dtype: torch.dtype) -> torch.Tensor:
    """(1, groups * tokens, tokens): 0 where a token may look, -inf after it. Kept per length."""
    key = (n_tokens, groups, dtype)
    if key not in _BIASES:
        if len(_BIASES) > 512:
            _BIASES.clear()
        ahead = torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu(1)
        bias = torch.zeros(n_tokens, n_tokens, dtype=dtype).masked_fill(
            ahead, float("-inf")
        )
        _BIASES[key] = bias.repeat(groups, 1)[None]
    return _BIASES[key]


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> torch.Tensor:
    out = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], is_causal=True, scale=scale, enable_gqa=True
    )
    return out[0].transpose(0, 1)


def _by_varlen_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    lengths: tuple[int, ...],
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor((0, *lengths), device=query.device).cumsum(0).to(torch.int32)
    q, k, v = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
    longest = max(lengths)
    out = varlen_attn(
        q,
        k,
        v,
        ends,
        ends,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    assert isinstance(out, torch.Tensor)
    return out[None]
