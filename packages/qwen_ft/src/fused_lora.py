"""A frozen linear layer with its LoRA update as one operation of autograd.

y = x W^T + bias + s (drop(x) A^T) B^T, without the full-size products, sums and copies that the
update costs when it is a module of its own; 4-bit weights are widened once per pass. Invariant:
without dropout, outputs and gradients equal peft's; dropout keeps each input with the same chance.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

Dense = Callable[[], torch.Tensor]


class LoraLinear(torch.autograd.Function):
    """The operation; gradients go to x, A and B, never to the frozen weight."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        bias: torch.Tensor | None,
        dense: Dense,
        scaling: float,
        dropout: float,
    ) -> torch.Tensor:
        """Args: x (..., inputs), a (r, inputs), b (outputs, r), dense() (outputs, inputs).

        Returns: (..., outputs).
        """
        rows = x.reshape(-1, x.shape[-1])
        kept = keep_mask(rows, dropout) if dropout > 0 else None
        dropped = rows if kept is None else rows * kept
        inner = dropped @ a.T
        y = linear(rows, dense(), bias)
        y.addmm_(inner, b.T, alpha=scaling)
        ctx.save_for_backward(dropped, kept, inner, a, b)
        ctx.dense, ctx.scaling, ctx.shape = dense, scaling, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dropped, kept, inner, a, b = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        g_inner = (g @ b).mul_(ctx.scaling)
        g_x = None
        if ctx.needs_input_grad[0]:
            g_x = g @ ctx.dense()
            if kept is None:
                g_x.addmm_(g_inner, a)
            else:
                g_x.addcmul_(g_inner @ a, kept)
            g_x = g_x.view(ctx.shape)
        g_b = (g.T @ inner).mul_(ctx.scaling)
        return g_x, g_inner.T @ dropped, g_b, None, None, None, None


class MergedLoraLinear(torch.autograd.Function):
    """The same without dropout, through W + s B A: three whole products instead of two and six thin ones."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        bias: torch.Tensor | None,
        dense: Dense,
        scaling: float,
    ) -> torch.Tensor:
        """Args and result as of LoraLinear."""
        ctx.save_for_backward(x, a, b)
        ctx.dense, ctx.scaling = dense, scaling
        return linear(x, torch.addmm(dense(), b, a, alpha=scaling), bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, a, b = ctx.saved_tensors
        rows, g = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        g_x = None
        if ctx.needs_input_grad[0]:
            g_x = (g @ torch.addmm(ctx.dense(), b, a, alpha=ctx.scaling)).view(x.shape)
        g_weight = (g.T @ rows).mul_(ctx.scaling)
        return g_x, b.T @ g_weight, g_weight @ a.T, None, None, None


def merging_pays(inputs: int, outputs: int, rank: int) -> bool:
    """Whether one more whole product is cheaper than six thin ones of width `rank`.

    Thin products reach about a fifth of the speed of whole ones (measured: 674 tokens, r = 16,
    15 against 80 GFLOP/s), so the limit is the harmonic width at which their times meet.
    """
    return inputs * outputs / (inputs + outputs) < 10 * rank


def keep_mask(like: torch.Tensor, dropout: float) -> torch.Tensor:
    """0 with chance `dropout`, else 1 / (1 - dropout), in the shape and format of `like`.

    Four 16-bit draws from each 64-bit number of torch's generator: bernoulli_ takes 20 ns per
    element on the CPU here, a fifth of a training step. The chance is a multiple of 1/65,536.
    """
    count = like.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device)
    draws = words.random_(-(2**63), None).view(torch.int16)[:count].view(like.shape)
    threshold = min(max(round(dropout * 65_536), 1), 65_535) - 32_768
    return (draws >= threshold).to(like.dtype).mul_(1 / (1 - dropout))


def fuse_lora(adapted: nn.Module) -> int:
    """Give each plain LoRA layer on the CPU the fused forward, in place; how many there were.

    Left alone: DoRA, several adapters, 4-bit layers whose products use another number format
    than their inputs, and any layer while its adapter is switched off or merged.
    """
    from peft.tuners.lora.layer import LoraLayer

    fused = 0
    for module in adapted.modules():
        if isinstance(module, LoraLayer) and _fusible(module):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _fusible(layer: Any) -> bool:
    if list(layer.active_adapters) != ["default"] or layer.lora_variant:
        return False
    base = layer.get_base_layer()
    a, b = layer.lora_A["default"], layer.lora_B["default"]
    formats = {
        a.weight.dtype,
        getattr(base, "compute_dtype", None) or base.weight.dtype,
    }
    return (
        isinstance(base, nn.Linear)
        and base.weight.device.type == "cpu"
        and len(formats) == 1
        and (base.bias is None or base.bias.dtype in formats)
        and a.bias is None
        and b.bias is None
    )


def _dense_weight(base: nn.Linear) -> Dense:
    state = getattr(base.weight, "quant_state", None)
    if state is None:
        return lambda: base.weight
    from bitsandbytes.functional import dequantize_4bit

    format_ = base.compute_dtype
    return lambda: dequantize_4bit(base.weight.data, state).to(format_)


def _forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    a = self.lora_A["default"].weight
    plain = self.disable_adapters or self.merged or args or kwargs or x.dtype != a.dtype
    if plain:
        found: torch.Tensor = type(self).forward(self, x, *args, **kwargs)
        return found
    base, drop = self.get_base_layer(), self.lora_dropout["default"]
    chance = drop.p if self.training and isinstance(drop, nn.Dropout) else 0.0
    b, dense, scaling = (
        self.lora_B["default"].weight,
        _dense_weight(base),
        self.scaling["default"],
    )
    if chance == 0.0 and merging_pays(base.in_features, base.out_features, a.shape[0]):
        return MergedLoraLinear.apply(  # type: ignore[no-any-return, no-untyped-call]
            x, a, b, base.bias, dense, scaling
        )
    return LoraLinear.apply(  # type: ignore[no-any-return, no-untyped-call]
        x, a, b, base.bias, dense, scaling, chance
    )
