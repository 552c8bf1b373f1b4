"""The fast training recipe, part by part; each gives the same losses and gradients as without it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packages.qwen_ft.src.document_attention import attend_within_documents
from packages.qwen_ft.src.frozen_head import PLAIN_FAMILIES, use_frozen_head
from packages.qwen_ft.src.fused_lora import fuse_lora
from packages.qwen_ft.src.fused_norms import fuse_norms

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which parts are used.

    Args:
        flat_rows: documents end to end without padding, attention within each.
        frozen_head: loss over scored tokens only, in chunks, logits never held whole.
        fused_norms: RMSNorm as one operation.
        fused_lora: a frozen layer and its LoRA update as one operation (CPU).
        masters: adapters in the number format of the base, float32 masters in the optimizer.
    """

    flat_rows: bool = True
    frozen_head: bool = True
    fused_norms: bool = True
    fused_lora: bool = True
    masters: bool = True


PLAIN = Recipe(
    flat_rows=False,
    frozen_head=False,
    fused_norms=False,
    fused_lora=False,
    masters=False,
)
FAST = Recipe()


def prepare_base(
    model: "PreTrainedModel",
    recipe: Recipe,
    *,
    attn_implementation: str = "auto",
    gradient_checkpointing: bool = False,
) -> bool:
    """Make the base ready for training: norms, attention, inputs; whether rows may be flat.

    Norms of a 4-bit base are in float32 either way (as in peft's prepare_model_for_kbit_training;
    the fused ones do without its float32 copy of the embedding, 0.5 GB for Qwen's vocabulary).
    A configured attention kernel other than `auto` is left alone, and rows are then padded.
    """
    known = model.config.model_type in PLAIN_FAMILIES
    if recipe.fused_norms and known:
        fuse_norms(model)
    elif getattr(model, "is_loaded_in_4bit", False):
        from peft import prepare_model_for_kbit_training

        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if gradient_checkpointing:
        # The embedding is frozen: a recomputed block would see no input with a gradient.
        model.enable_input_require_grads()
    if not (known and recipe.flat_rows and attn_implementation == "auto"):
        return False
    if (
        getattr(model.config, "use_sliding_window", False)
        or model.config.attention_dropout
    ):
        return False
    attend_within_documents(model)
    return True


def prepare_adapted(adapted: "PeftModel", recipe: Recipe) -> None:
    """Switch LoRA layers and the loss as the recipe says, where the model allows it."""
    if recipe.fused_lora:
        fuse_lora(adapted)
    if recipe.frozen_head:
        use_frozen_head(adapted)
