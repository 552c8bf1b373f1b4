"""Nothing is loaded, and nothing is registered, that has not passed here. Nothing here runs what it reads."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packages.cloud.src.object_store import sha256_of_file
from packages.model_registry.src.adapter_config import (
    AdapterConfig,
    parsed_adapter_config,
)
from packages.model_registry.src.canonical_json import strict_json
from packages.model_registry.src.manifest import (
    ADAPTER_CONFIG,
    WEIGHTS,
    BaseModelRef,
    Manifest,
    file_name_problems,
)
from packages.model_registry.src.refusals import LoadRefused, listed
from packages.model_registry.src.safetensors_file import (
    Tensor,
    first_not_finite,
    read_header,
)

MANIFEST_NAME = "manifest.json"
MAX_JSON_BYTES = 64 * 2**20  # a tokenizer.json of a large vocabulary has 20 MB
CODE_KEYS = frozenset({"auto_map", "auto_mapping", "custom_pipelines", "code_revision"})
PREFIX = "base_model.model."


def guard_adapter(folder: Path, manifest: Manifest) -> None:
    """Check every byte of a fetched version against its manifest, then what the bytes mean.

    Args:
        folder: holds exactly the files of the manifest; the manifest itself may lie there too.

    Raises:
        LoadRefused: a file is missing, unlisted, a link, damaged, of a format that can run code, holds a weight
            that is not finite, or belongs to another base model. Every reason is listed.
    """
    problems = _differences(folder, manifest)
    if not problems:
        problems = content_problems(folder, manifest.lineage.base_model)
    if problems:
        heading = f"{manifest.model} {manifest.version} must not be loaded:"
        raise LoadRefused(
            listed(heading, problems)
            + "\nFetch it again, or run `registry verify` and `registry repair`."
        )


def content_problems(folder: Path, base: BaseModelRef) -> list[str]:
    """Why the adapter in this folder may not be loaded onto `base`; empty if it may."""
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_NAME)
    problems = file_name_problems(names)
    if problems:
        return problems
    config, problems = parsed_adapter_config(
        (folder / ADAPTER_CONFIG).read_bytes(), base.name, base.revision
    )
    for name in names:
        if name.endswith(".json") and name != ADAPTER_CONFIG:
            problems += _json_problems(folder / name)
    try:
        tensors = read_header(folder / WEIGHTS)
    except ValueError as error:
        return [*problems, f"{WEIGHTS}: {error}"]
    infinite = first_not_finite(folder / WEIGHTS, tensors)
    if infinite is not None:
        problems.append(f"{WEIGHTS}: {infinite.name} holds NaN or infinity")
    if config is not None:
        problems += lora_problems(tensors, config)
    return problems


def lora_problems(tensors: tuple[Tensor, ...], config: AdapterConfig) -> list[str]:
    """Whether the weights are the LoRA matrices that the configuration describes. The first 20 mismatches."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    problems = []
    for name, shape in shapes.items():
        module, _, kind = name.removesuffix(".weight").rpartition(".")
        rank = config.rank_of(module)
        if not name.startswith(PREFIX):
            problems.append(f"{WEIGHTS}: {name!r} is no weight of a PEFT adapter")
        elif kind == "lora_A":
            if len(shape) != 2 or shape[0] != rank:
                problems.append(
                    f"{WEIGHTS}: {name} has shape {shape}; expected ({rank}, inputs)"
                )
            if f"{module}.lora_B.weight" not in shapes:
                problems.append(f"{WEIGHTS}: {name} has no lora_B beside it")
        elif kind == "lora_B":
            if len(shape) != 2 or shape[1] != rank:
                problems.append(
                    f"{WEIGHTS}: {name} has shape {shape}; expected (outputs, {rank})"
                )
            if f"{module}.lora_A.weight" not in shapes:
                problems.append(f"{WEIGHTS}: {name} has no lora_A beside it")
        elif kind != "lora_magnitude_vector" or not config.use_dora:
            problems.append(f"{WEIGHTS}: {name!r} is no LoRA matrix")
    return problems[:20]


def base_problems(
    tensors: tuple[Tensor, ...], base_shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Where LoRA matrices do not fit the base model, first mismatch first.

    Args:
        base_shapes: shape of each weight of the base model, such as
            `model.layers.0.self_attn.q_proj.weight -> (outputs, inputs)`.
    """
    problems = []
    for tensor in tensors:
        module, _, kind = tensor.name.removesuffix(".weight").rpartition(".")
        weight = f"{module.removeprefix(PREFIX)}.weight"
        if kind not in ("lora_A", "lora_B"):
            continue
        if weight not in base_shapes:
            problems.append(f"{WEIGHTS}: the base model has no {weight}")
            continue
        outputs, inputs = base_shapes[weight]
        found = tensor.shape[1] if kind == "lora_A" else tensor.shape[0]
        expected = inputs if kind == "lora_A" else outputs
        if found != expected:
            side = "inputs" if kind == "lora_A" else "outputs"
            problems.append(
                f"{WEIGHTS}: {tensor.name} has {found} {side}, {weight} of the base "
                f"model has {expected}"
            )
    return problems


def _differences(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are missing, unlisted, no plain files, or have other bytes than the manifest says."""
    present = {path.name: path for path in folder.iterdir()}
    present.pop(MANIFEST_NAME, None)
    listed_names = {file.path for file in manifest.files}
    problems = [
        f"{name[:80]!r} is not listed in the manifest"
        for name in sorted(present.keys() - listed_names)
    ]
    for file in manifest.files:
        path = folder / file.path
        if file.path not in present:
            problems.append(f"{file.path} is missing")
        elif not stat.S_ISREG(path.lstat().st_mode):
            problems.append(f"{file.path} is a link or no plain file")
        elif path.stat().st_size != file.size_bytes:
            problems.append(
                f"{file.path} has {path.stat().st_size:,} bytes, the manifest says "
                f"{file.size_bytes:,}"
            )
        elif (found := sha256_of_file(path)) != file.sha256:
            problems.append(
                f"{file.path} has SHA-256 {found}, the manifest says {file.sha256}"
            )
    return problems


def _json_problems(path: Path) -> list[str]:
    """Whether a JSON file of the tokenizer is JSON, and asks for no code from elsewhere."""
    try:
        value = strict_json(path.read_bytes(), MAX_JSON_BYTES)
    except ValueError as error:
        return [f"{path.name}: {error}"]
    return [f"{path.name}: the key {key!r} names code" for key in _code_keys(value)]


def _code_keys(value: Any) -> list[str]:
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            # A number is a token of a vocabulary, which may be called anything.
            found |= {k for k in CODE_KEYS & item.keys() if _can_name_code(item[k])}
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return sorted(found)


def _can_name_code(value: Any) -> bool:
    return isinstance(value, str | list | dict) and bool(value)
