"""The LoRA adapter on the base model: attach a new one, save it, load a trained one.

Invariant: the saved bytes depend on the weights and settings only, and loading gives exactly them.
"""

import json
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from packages.cloud.src.exit_codes import EX_CONFIG, EX_DATAERR, EX_NOINPUT, UserError
from packages.qwen_ft.src.adapter_files import CONFIG_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from packages.qwen_ft.src.config import LoraSettings

log = logging.getLogger(__name__)


def attach_adapter(
    model: "PreTrainedModel", settings: "LoraSettings", seed: int
) -> "PeftModel":
    """A new trainable adapter on the frozen base; it changes no output until it is trained.

    The adapter takes the number format of the residual stream, so nothing is cast on the way.

    Raises:
        UserError: a target names no module, or the rank is wider than a target (78).
    """
    from peft import get_peft_model

    config = build_lora_config(settings, linear_modules(model))
    for parameter in model.parameters():
        parameter.requires_grad = False
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 for an attribute by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    stream = model.get_input_embeddings().weight.dtype
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(stream)
    trainable, total = count_parameters(adapted)
    log.info(
        "LoRA r=%d on %s: %s trainable of %s parameters (%.2f %%)",
        settings.r,
        ", ".join(target_names(adapted)),
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
    )
    return adapted


def linear_modules(model: "PreTrainedModel") -> dict[str, tuple[int, int]]:
    """Full name to (inputs, outputs) of each linear layer that LoRA can adapt; the head is not one."""
    head = model.get_output_embeddings()
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }


def build_lora_config(
    settings: "LoraSettings", modules: dict[str, tuple[int, int]]
) -> "LoraConfig":
    """The LoraConfig of these settings, targets checked against `modules`; the only place that builds one.

    Raises:
        UserError: a target names no module, or the rank is wider than a target (78).
    """
    from peft import LoraConfig

    targets = settings.target_modules
    hit = _targeted(targets, modules)
    narrowest = min(hit, key=lambda name: min(modules[name]))
    if settings.r > min(modules[narrowest]):
        raise UserError(
            f"lora.r is {settings.r}, but {narrowest} is {modules[narrowest][0]} x "
            f"{modules[narrowest][1]}: a rank above {min(modules[narrowest])} adds weights that "
            f"cannot add anything. Set lora.r to at most {min(modules[narrowest])}, or leave that "
            "module out of lora.target_modules.",
            EX_CONFIG,
        )
    # A regular expression may match modules that are not linear, which peft refuses.
    by_name = targets == "all-linear" or not isinstance(targets, str)
    chosen = (
        hit if not by_name else targets if isinstance(targets, str) else list(targets)
    )
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=chosen,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _targeted(
    targets: str | Sequence[str], modules: dict[str, tuple[int, int]]
) -> list[str]:
    """Names of the modules that `targets` selects, by peft's rules."""
    if targets == "all-linear":
        return list(modules)
    if isinstance(targets, str):
        hit = [name for name in modules if re.fullmatch(targets, name)]
        missing = [] if hit else [targets]
    else:
        chosen = {
            t: [n for n in modules if n == t or n.endswith(f".{t}")] for t in targets
        }
        hit = [name for names in chosen.values() for name in names]
        missing = [target for target, names in chosen.items() if not names]
    if missing:
        raise UserError(
            f"lora.target_modules names {', '.join(map(repr, missing))}, which no linear module of "
            f"this model matches. {_offer(modules)}",
            EX_CONFIG,
        )
    return hit


def _offer(modules: Iterable[str]) -> str:
    names = sorted({name.rsplit(".", 1)[-1] for name in modules})
    return (
        f"Its linear modules are {', '.join(names)}. Use a list of these, a regular expression "
        "over full names such as model.layers.0.self_attn.q_proj, or all-linear."
    )


def target_names(adapted: "PeftModel") -> list[str]:
    """Last part of the name of each kind of adapted module, sorted."""
    suffix = ".lora_A"
    names = (name for name, _ in adapted.named_modules() if name.endswith(suffix))
    return sorted({name[: -len(suffix)].rsplit(".", 1)[-1] for name in names})


def count_parameters(adapted: "PeftModel") -> tuple[int, int]:
    """(trainable, all) parameters; a 4-bit byte counts as the two weights it holds."""
    trainable, total = adapted.get_nb_trainable_parameters()
    return int(trainable), int(total)


def save_adapter(
    adapted: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    base_name: str,
    base_revision: str,
    folder: Path,
) -> None:
    """Write weights, adapter_config.json, tokenizer and chat template; same weights, same bytes.

    peft's own `save_pretrained` writes sets in hash order and a model card with versions.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config: dict[str, Any] = adapted.peft_config["default"].to_dict()
    config |= {
        "base_model_name_or_path": base_name,
        "revision": base_revision,
        "inference_mode": True,
    }
    text = json.dumps(_plain(config), indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n")
    tokenizer.save_pretrained(folder)


def _plain(value: Any) -> Any:
    """JSON form: sets sorted, enums by value."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)


def load_adapter(model: "PreTrainedModel", folder: Path, base_name: str) -> "PeftModel":
    """The trained adapter in `folder` on its base, for evaluation.

    Only safetensors are read. `model.add_adapter` would make a new random adapter; this refuses
    unless every weight of the file arrived.

    Raises:
        UserError: files missing (66), made for another base, incomplete, or not finite (65).
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}. Give the folder of a trained LoRA adapter; pickled "
                "adapter_model.bin files are not opened.",
                EX_NOINPUT,
            )
    made_for = json.loads((folder / CONFIG_FILE).read_text())["base_model_name_or_path"]
    if made_for != base_name:
        raise _wrong_adapter(
            folder,
            f"was made for {made_for}, the base is {base_name}. Use the base it names.",
        )
    stored = load_file(folder / WEIGHTS_FILE)
    bad = [name for name, tensor in stored.items() if not tensor.isfinite().all()]
    if bad:
        raise _wrong_adapter(
            folder, f"has weights that are not finite, first {bad[0]}."
        )
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 for an attribute by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if loaded.keys() != stored.keys():
        differing = sorted(loaded.keys() ^ stored.keys())
        raise _wrong_adapter(
            folder,
            f"does not fit the model: {len(differing)} weights, first {differing[0]}.",
        )
    return adapted.eval()


def _wrong_adapter(folder: Path, finding: str) -> UserError:
    return UserError(f"The adapter in {folder} {finding}", EX_DATAERR)
