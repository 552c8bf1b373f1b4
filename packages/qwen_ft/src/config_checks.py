"""Settings against what only the run knows: the base model, the data, the machine. No torch."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.config_learning import is_folder
from packages.qwen_ft.src.config_problems import Problem, nearest, refuse


@dataclass(frozen=True)
class Capabilities:
    """What a machine can compute with.

    name: as a person knows it, such as `Tesla T4` or `CPU`.
    cuda_devices: number of cards.
    """

    name: str
    cuda_devices: int
    bfloat16: bool
    flash_attention: bool = False


def warnings_of(config: RunConfig) -> list[str]:
    """Sentences about settings that are allowed and deserve a second look."""
    found = []
    if config.model.trust_remote_code:
        pin = config.model.revision or "a folder"
        found.append(
            f"model.trust_remote_code is true: Python code from {config.model.name} at {pin} will "
            "run with your rights. Qwen2.5 does not need it."
        )
    if config.model.allow_float16:
        found.append(
            "model.allow_float16 is true: Qwen2.5's activations can pass 65,504 and become inf; "
            "the run stops if the loss does."
        )
    if is_folder(config.model.name) and config.model.revision is not None:
        found.append(
            "model.revision is not used: model.name is a folder, its files are hashed."
        )
    return found


def check_against_model(
    config: RunConfig, model_config: Mapping[str, Any], module_names: Sequence[str]
) -> None:
    """Stop before any machine is paid for when the adapter does not fit the base model.

    Args:
        model_config: the base model's `config.json`.
        module_names: full names of its linear modules, the output head left out.

    Raises:
        UserError: all problems, those of each trial included (exit code 78).
    """
    problems = _context_problems(config, model_config) + _stored_dtype_problems(
        config, model_config
    )
    for trial, settings in _with_trials(config):
        problems += [
            Problem(trial + problem.path, problem.found, problem.expected, problem.do)
            for problem in _adapter_problems(settings, model_config, module_names)
        ]
    refuse(problems)


def check_against_data(
    config: RunConfig, train_documents: int, hold_out_documents: int | None = None
) -> None:
    """Stop when there is too little data for the settings.

    Few documents may give fewer steps than `eval_steps`: that is fine, the last step is always evaluated.

    Raises:
        UserError: a batch larger than the data, or a hold-out split on which the gate could not
            decide (exit code 78).
    """
    problems: list[Problem] = []
    for trial, settings in _with_trials(config):
        training = settings.training
        batch = (
            training.per_device_train_batch_size * training.gradient_accumulation_steps
        )
        if batch > train_documents:
            problems.append(
                Problem(
                    (*trial, "training", "per_device_train_batch_size"),
                    f"{batch} documents per optimizer step (per_device_train_batch_size "
                    f"{training.per_device_train_batch_size} x gradient_accumulation_steps "
                    f"{training.gradient_accumulation_steps}) and {train_documents} to train on",
                    "at least one full step of data",
                    "lower one of the two, or give more documents",
                )
            )
    if (
        hold_out_documents is not None
        and hold_out_documents < config.gate.min_documents
    ):
        problems.append(
            Problem(
                ("gate", "min_documents"),
                f"{hold_out_documents} hold-out documents",
                f"at least gate.min_documents = {config.gate.min_documents}; with fewer the gate "
                "refuses every adapter",
                "raise data.hold_out_share, give more documents, or lower gate.min_documents",
            )
        )
    refuse(_without_repeats(problems))


def check_against_device(config: RunConfig, capabilities: Capabilities) -> None:
    """Stop when the machine cannot compute what the settings ask for.

    Raises:
        UserError: all problems (exit code 78).
    """
    problems: list[Problem] = []
    here = f"on {capabilities.name}"
    if not capabilities.bfloat16:
        formats = [(("model", "torch_dtype"), config.model.torch_dtype)]
        if config.quantization.load_in_4bit:
            compute = config.quantization.bnb_4bit_compute_dtype
            formats.append((("quantization", "bnb_4bit_compute_dtype"), compute))
        problems += [
            Problem(
                path,
                f"bfloat16 {here}, which cannot compute in it",
                "a format of this machine",
                "write float32, or use a card of the Ampere generation (A10G, A100) or newer",
            )
            for path, dtype in formats
            if dtype == "bfloat16"
        ]
    wanted = config.model.device_map
    index = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and index >= capabilities.cuda_devices:
        cards = capabilities.cuda_devices
        problems.append(
            Problem(
                ("model", "device_map"),
                f"{wanted} {here}, which has {cards or 'no'} CUDA card{'s' if cards > 1 else ''}",
                "a card that is there" if cards else "cpu or auto",
                f"write {'cuda:0' if cards else 'auto'}",
            )
        )
    on_gpu = capabilities.cuda_devices > 0 and wanted != "cpu"
    if config.model.attn_implementation == "flash_attention_2" and not (
        on_gpu and capabilities.flash_attention
    ):
        problems.append(
            Problem(
                ("model", "attn_implementation"),
                f"flash_attention_2 {here}, where it is not installed or has no GPU",
                "a kernel of this machine",
                "write auto, which takes the fastest that is there",
            )
        )
    for trial, settings in _with_trials(config):
        if not on_gpu and (
            "8bit" in settings.training.optim or "paged" in settings.training.optim
        ):
            problems.append(
                Problem(
                    (*trial, "training", "optim"),
                    f"{settings.training.optim} {here}",
                    "an optimizer that works without a GPU",
                    "write adamw_torch",
                )
            )
    refuse(_without_repeats(problems))


def matching_modules(
    target: str | tuple[str, ...], module_names: Sequence[str]
) -> list[str]:
    """Full names of the modules that get an adapter, by the rules of peft."""
    if target == "all-linear":
        return list(module_names)
    if isinstance(target, str):
        return [name for name in module_names if re.fullmatch(target, name)]
    return [
        name
        for name in module_names
        if any(name == wanted or name.endswith(f".{wanted}") for wanted in target)
    ]


def _adapter_problems(
    config: RunConfig, model_config: Mapping[str, Any], module_names: Sequence[str]
) -> list[Problem]:
    target = config.lora.target_modules
    wanted = (target,) if isinstance(target, str) else target
    kinds = sorted({name.rsplit(".", 1)[-1] for name in module_names})
    problems = []
    for name in wanted:
        if matching_modules(
            target if isinstance(target, str) else (name,), module_names
        ):
            continue
        close = nearest(name, ["all-linear", *kinds])
        problems.append(
            Problem(
                ("lora", "target_modules"),
                f'"{name}", which matches no module of {config.model.name}',
                f"one of {', '.join(kinds)}, or all-linear",
                f"did you mean {close}?" if close else "write one of these names",
            )
        )
    narrow = [
        (width, kind)
        for kind in {
            name.rsplit(".", 1)[-1] for name in matching_modules(target, module_names)
        }
        if (width := _narrow_side(kind, model_config)) < config.lora.r
    ]
    if narrow:
        width, kind = min(narrow)
        problems.append(
            Problem(
                ("lora", "r"),
                f"r = {config.lora.r} over the {width} that {kind} of {config.model.name} has as "
                "its narrow side",
                "a rank below it: beyond, the adapter is larger than the weight it changes",
                f"write r: {max(1, width // 4)}, or take {kind} out of lora.target_modules",
            )
        )
    return problems


def _narrow_side(kind: str, model_config: Mapping[str, Any]) -> float:
    """The smaller side of the weight of a Qwen2 module; inf where the name is not known."""
    hidden: float = model_config.get("hidden_size", math.inf)
    heads = model_config.get("num_attention_heads") or 1
    head = model_config.get("head_dim") or hidden // heads
    sides: dict[str, float] = {
        "q_proj": head * heads,
        "o_proj": head * heads,
        "k_proj": head * model_config.get("num_key_value_heads", heads),
        "v_proj": head * model_config.get("num_key_value_heads", heads),
        **dict.fromkeys(
            ["gate_proj", "up_proj", "down_proj"],
            model_config.get("intermediate_size", math.inf),
        ),
    }
    return min(hidden, sides.get(kind, math.inf))


def _context_problems(
    config: RunConfig, model_config: Mapping[str, Any]
) -> list[Problem]:
    longest = model_config.get("max_position_embeddings", math.inf)
    lengths = {
        ("data", "max_tokens"): config.data.max_tokens,
        ("evaluation", "window_tokens"): config.evaluation.window_tokens,
    }
    return [
        Problem(
            path,
            f"{tokens:,} tokens for {config.model.name}",
            f"at most its {longest:,} positions",
            f"write {path[-1]}: {longest}",
        )
        for path, tokens in lengths.items()
        if tokens > longest
    ]


def _stored_dtype_problems(
    config: RunConfig, model_config: Mapping[str, Any]
) -> list[Problem]:
    stored = model_config.get("dtype", model_config.get("torch_dtype"))
    if (
        config.model.torch_dtype != "auto"
        or config.model.allow_float16
        or stored != "float16"
    ):
        return []
    return [
        Problem(
            ("model", "torch_dtype"),
            f"auto, and the weights of {config.model.name} are stored as float16",
            "a format that holds Qwen2.5's activations, which pass 65,504",
            "write bfloat16 or float32",
        )
    ]


def _with_trials(config: RunConfig) -> list[tuple[tuple[str | int, ...], RunConfig]]:
    """Each trial's settings, and where they are written."""
    return [
        (("trials", position) if trial else (), config.with_trial(trial))
        for position, trial in enumerate(config.trials)
    ]


def _without_repeats(problems: Sequence[Problem]) -> list[Problem]:
    return list({str(problem): problem for problem in problems}.values())
