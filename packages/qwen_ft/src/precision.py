"""Device, number format and 4-bit quantisation: what was asked for, checked against what is here."""

import importlib.util
from typing import TYPE_CHECKING

import torch
from torch import nn

from packages.cloud.src.exit_codes import EX_CONFIG, EX_UNAVAILABLE, UserError
from packages.qwen_ft.src.config_checks import Capabilities

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

    from packages.qwen_ft.src.config import QuantizationSettings

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}

NARROW = 512  # hidden size below which threads wait longer than they work


def pick_device(device_map: str) -> torch.device:
    """The device that `model.device_map` names; `auto` is the first GPU, or the CPU.

    Raises:
        UserError: a GPU is asked for and is not there (69).
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device_map == "auto":
        return (
            torch.device("cuda", torch.cuda.current_device())
            if gpus
            else torch.device("cpu")
        )
    device = torch.device(device_map)
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(
            f"model.device_map is {device_map}, but torch sees {gpus} GPU(s) here. Use auto, cpu"
            + (f", or cuda:0 to cuda:{gpus - 1}." if gpus else "."),
            EX_UNAVAILABLE,
        )
    return device


def pick_dtype(
    asked: str, stored: str, device: torch.device
) -> tuple[torch.dtype, list[str]]:
    """Number format of the base weights, and a sentence where it is not the stored one.

    Raises:
        UserError: bfloat16 on a GPU that has none (78).
    """
    name = stored if asked == "auto" else asked
    if name != "bfloat16" or has_bfloat16(device):
        return _DTYPES[name], []
    if asked == "auto":
        return torch.float32, [
            f"weights are stored in bfloat16, which {_named(device)} has no instructions for: "
            "float32 is used instead (model.torch_dtype auto)"
        ]
    if device.type == "cuda":
        raise UserError(
            f"model.torch_dtype is bfloat16, which {_named(device)} cannot compute in. Use "
            "float32 or auto, or a GPU of the Ampere generation or later (A10G, L4, A100).",
            EX_CONFIG,
        )
    return torch.bfloat16, [
        f"{_named(device)} has no bfloat16 instructions: products run in software, slowly"
    ]


def has_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 have hardware on this device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"


def plan_quantization(
    settings: "QuantizationSettings", device: torch.device, *, exact: bool
) -> tuple["BitsAndBytesConfig | None", list[str]]:
    """How to load the base in 4 bits, or None; the only place that builds a BitsAndBytesConfig.

    Args:
        exact: compute products in float32, whatever is configured: evaluation on the CPU.

    Raises:
        UserError: bfloat16 products on a GPU that has none (78).
    """
    if not settings.load_in_4bit:
        return None, []
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        return None, [
            f"4-bit loading needs bitsandbytes ({error}): weights stay unquantised"
        ]
    from transformers import BitsAndBytesConfig

    notes: list[str] = []
    compute = "float32" if exact else settings.bnb_4bit_compute_dtype
    if compute == "bfloat16" and not has_bfloat16(device):
        if device.type == "cuda":
            raise UserError(
                f"quantization.bnb_4bit_compute_dtype is bfloat16, which {_named(device)} cannot "
                "compute in. Use float32 or float16.",
                EX_CONFIG,
            )
        compute = "float32"
        notes.append(
            "this CPU has no bfloat16 instructions: the products of 4-bit layers are computed in "
            "float32 instead (quantization.bnb_4bit_compute_dtype)"
        )
    plan = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=settings.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=_DTYPES[compute],
    )
    return plan, notes


def describe(plan: "BitsAndBytesConfig | None", dtype: str) -> str:
    """One phrase for people: `4-bit nf4, double-quantised, float32 products`, or the dtype."""
    if plan is None:
        return dtype
    scales = ", double-quantised" if plan.bnb_4bit_use_double_quant else ""
    products = str(plan.bnb_4bit_compute_dtype).split(".")[-1]
    return f"4-bit {plan.bnb_4bit_quant_type}{scales}, {products} products"


def keep_cpu_weights_in_training_layout(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights at the first evaluation on avx512_bf16 CPUs.

    Repacked, the logits differ from training mode (0.02 measured) and the next training step
    fails; bitsandbytes 0.50.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def widen_to_float32(model: "PreTrainedModel") -> None:
    """Turn every weight that is not 4-bit into float32, in place; the values stay."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    model.config.dtype = torch.float32


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, with the scales of 4-bit weights; tied weights once."""
    total = sum(
        t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()]
    )
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            tensors = (state.absmax, state.code, getattr(state, "offset", None))
            total += sum(t.numel() * t.element_size() for t in tensors if t is not None)
            state = getattr(state, "state2", None)
    return total


def capabilities_here() -> Capabilities:
    """What this machine computes with. A CPU without bfloat16 falls back, so it counts as able."""
    if not torch.cuda.is_available():
        return Capabilities("the CPU", cuda_devices=0, bfloat16=True)
    return Capabilities(
        torch.cuda.get_device_name(0),
        cuda_devices=torch.cuda.device_count(),
        bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
        flash_attention=importlib.util.find_spec("flash_attn") is not None,
    )


def choose_cpu_threads(model: "PreTrainedModel") -> None:
    """One thread for a narrow model, which is faster there and gives the same bytes on any number of cores.

    Two threads took 3.8 times as long per 4-bit layer of 384 x 128 (0.70 and 2.66 ms, two cores, both busy).
    """
    if model.device.type == "cpu" and model.config.hidden_size < NARROW:
        torch.set_num_threads(1)
