"""What must not be loaded is refused with its reason. I01 to I09 are the cases of the corpus of bad inputs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from packages.model_registry.src.load_guard import (
    base_problems,
    content_problems,
    guard_adapter,
)
from packages.model_registry.src.manifest import Manifest
from packages.model_registry.src.refusals import LoadRefused
from packages.model_registry.src.safetensors_file import read_header
from packages.model_registry.tests.adapters import (
    CONFIG,
    MODULE,
    WEIGHTS,
    adapter_bytes,
    adapter_config,
    manifest_for,
    tensors,
)


def stored(folder: Path, files: dict[str, bytes]) -> Manifest:
    """The files in a folder, and the manifest that belongs to them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return manifest_for(files)


def refused(folder: Path, manifest: Manifest) -> str:
    with pytest.raises(LoadRefused) as refusal:
        guard_adapter(folder, manifest)
    return refusal.value.message


def test_a_sound_adapter_passes(tmp_path: Path) -> None:
    manifest = stored(tmp_path, adapter_bytes(more=2))
    guard_adapter(tmp_path, manifest)
    (tmp_path / "manifest.json").write_bytes(manifest.to_bytes())
    guard_adapter(tmp_path, manifest)


@pytest.mark.parametrize("name", sorted(adapter_bytes(more=2)))
@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "one byte less",
        "one byte more",
        "bit 0",
        "bit in the middle",
        "last bit",
    ],
)
def test_every_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    # I01 truncated, I02 flipped bit.
    manifest = stored(tmp_path, adapter_bytes(more=2))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(damaged(data, damage))
    message = refused(tmp_path, manifest)
    assert name in message
    assert "the manifest says" in message


def damaged(data: bytes, damage: str) -> bytes:
    if damage == "empty":
        return b""
    if damage == "one byte less":
        return data[:-1]
    if damage == "one byte more":
        return data + b"\0"
    place = {"bit 0": 0, "bit in the middle": len(data) // 2, "last bit": len(data) - 1}
    changed = bytearray(data)
    changed[place[damage]] ^= 1
    return bytes(changed)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    # I03: safetensors and PEFT load them in silence.
    values = tensors()
    values[f"{MODULE}.lora_B.weight"][3, 1] = np.nan
    manifest = stored(tmp_path, adapter_bytes() | {WEIGHTS: save(values)})
    message = refused(tmp_path, manifest)
    assert f"{MODULE}.lora_B.weight holds NaN or infinity" in message


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"\x80\x04\x95cos\nsystem\n"])
def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path, data: bytes) -> None:
    # I04 a harmless adapter_model.bin, I05 a malicious one.
    manifest = stored(tmp_path, adapter_bytes())
    (tmp_path / "adapter_model.bin").write_bytes(data)
    assert "'adapter_model.bin' is not listed" in refused(tmp_path, manifest)
    (tmp_path / WEIGHTS).unlink()
    problems = content_problems(tmp_path, manifest.lineage.base_model)
    assert any("not on the list of allowed names" in line for line in problems)


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    # I06.
    config = json.dumps(adapter_config(base_model_name_or_path="other/base")).encode()
    manifest = stored(tmp_path, adapter_bytes() | {CONFIG: config})
    message = refused(tmp_path, manifest)
    assert "'other/base'" in message
    assert "'Qwen/Qwen2.5-0.5B'" in message


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        (f"{MODULE}.lora_A.weight", (3, 4), "expected \\(2, inputs\\)"),
        (f"{MODULE}.lora_B.weight", (6, 3), "expected \\(outputs, 2\\)"),
        (f"{MODULE}.lora_A.weight", (8,), "expected \\(2, inputs\\)"),
        (f"{MODULE}.weight", (2, 2), "is no LoRA matrix"),
        (f"{MODULE}.lora_magnitude_vector", (6,), "is no LoRA matrix"),
        ("lm_head.weight", (2, 2), "is no weight of a PEFT adapter"),
        ("base_model.model.x.lora_A.weight", (2, 4), "has no lora_B beside it"),
        ("base_model.model.x.lora_B.weight", (4, 2), "has no lora_A beside it"),
    ],
)
def test_weights_that_are_not_the_described_adapter_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...], reason: str
) -> None:
    values = tensors() | {name: np.ones(shape, np.float32)}
    manifest = stored(tmp_path, adapter_bytes() | {WEIGHTS: save(values)})
    with pytest.raises(LoadRefused, match=reason):
        guard_adapter(tmp_path, manifest)


def test_matrices_that_do_not_fit_the_base_are_listed_first_mismatch_first(
    tmp_path: Path,
) -> None:
    # I07. The adapter maps 4 inputs to 6 outputs.
    stored(tmp_path, adapter_bytes())
    header = read_header(tmp_path / WEIGHTS)
    weight = "model.layers.0.self_attn.q_proj.weight"
    assert base_problems(header, {weight: (6, 4)}) == []
    assert base_problems(header, {weight: (7, 5)}) == [
        f"{WEIGHTS}: {MODULE}.lora_A.weight has 4 inputs, {weight} of the base model has 5",
        f"{WEIGHTS}: {MODULE}.lora_B.weight has 6 outputs, {weight} of the base model has 7",
    ]
    assert "has no model.layers.0" in base_problems(header, {})[0]


def test_an_unlisted_file_is_refused(tmp_path: Path) -> None:
    # I08.
    manifest = stored(tmp_path, adapter_bytes())
    (tmp_path / "sitecustomize.py").write_bytes(b"")
    assert "'sitecustomize.py' is not listed" in refused(tmp_path, manifest)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "missing"])
def test_only_plain_files_are_read(tmp_path: Path, kind: str) -> None:
    manifest = stored(tmp_path / "a", adapter_bytes())
    path = tmp_path / "a" / CONFIG
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    reason = "is missing" if kind == "missing" else "is a link or no plain file"
    assert f"{CONFIG} {reason}" in refused(tmp_path / "a", manifest)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"auto_map": {"AutoTokenizer": ["evil.T", None]}}, "'auto_map' names code"),
        ({"a": [{"auto_map": "evil--code"}]}, "'auto_map' names code"),
        ({"auto_map": 7, "a": {"auto_map": None}}, None),  # tokens of a vocabulary
    ],
)
def test_tokenizer_files_that_name_code_are_refused(
    tmp_path: Path, value: object, reason: str | None
) -> None:
    files = adapter_bytes() | {"tokenizer_config.json": json.dumps(value).encode()}
    manifest = stored(tmp_path, files)
    if reason is None:
        guard_adapter(tmp_path, manifest)
    else:
        assert reason in refused(tmp_path, manifest)


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    manifest = stored(tmp_path, adapter_bytes(more=2))
    for name in adapter_bytes(more=2):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "extra.py").write_bytes(b"")
    assert refused(tmp_path, manifest).count("\n  ") == 5
