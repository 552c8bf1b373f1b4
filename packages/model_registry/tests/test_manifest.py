"""Hostile manifests: each is refused, and the message names its reason."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from packages.model_registry.src.canonical_json import canonical_json
from packages.model_registry.src.manifest import (
    ALLOWED_FILES,
    file_name_problems,
    parsed_manifest,
)
from packages.model_registry.src.refusals import ManifestRefused
from packages.model_registry.tests.adapters import (
    MODEL,
    WEIGHTS,
    adapter_bytes,
    manifest_for,
)

Tree = dict[str, Any]


def good() -> Tree:
    return json.loads(manifest_for(adapter_bytes(more=2)).to_bytes())


def name_of_file(name: str) -> Callable[[Tree], None]:
    def rename(tree: Tree) -> None:
        tree["files"][0]["path"] = name

    return rename


def field(path: str, value: object) -> Callable[[Tree], None]:
    def put(tree: Tree) -> None:
        *way, last = path.split(".")
        inside: Any = tree
        for step in way:
            inside = inside[int(step)] if step.isdigit() else inside[step]
        inside[last] = value

    return put


def repeated(tree: Tree) -> None:
    tree["files"].append(copy.deepcopy(tree["files"][-1]))


def in_another_case(tree: Tree) -> None:
    tree["files"].append(tree["files"][0] | {"path": "readme.MD"})


def a_million_files(tree: Tree) -> None:
    tree["files"] = tree["files"] * 20_000


def without_weights(tree: Tree) -> None:
    tree["files"] = [f for f in tree["files"] if f["path"] != WEIGHTS]


ATTACKS = {
    "parent folder": (name_of_file("../evil.json"), "leads out of its folder"),
    "absolute path": (name_of_file("/etc/passwd"), "leads out of its folder"),
    "windows drive": (name_of_file("C:evil.json"), "leads out of its folder"),
    "backslash": (name_of_file("..\\evil.json"), "leads out of its folder"),
    "dot dot": (name_of_file(".."), "leads out of its folder"),
    "subfolder": (name_of_file("a/README.md"), "leads out of its folder"),
    "nul": (name_of_file("README.md\0.json"), "control character"),
    "empty name": (name_of_file(""), "empty or longer"),
    "long name": (name_of_file("a" * 1025), "empty or longer"),
    "not NFC": (name_of_file("e\u0301.json"), "Unicode form NFC"),
    "pickle .bin": (name_of_file("adapter_model.bin"), "not on the list"),
    "pickle .pt": (name_of_file("optimizer.pt"), "not on the list"),
    "pickle .pkl": (name_of_file("model.pkl"), "not on the list"),
    "python": (name_of_file("modeling.py"), "not on the list"),
    "the manifest itself": (name_of_file("manifest.json"), "not on the list"),
    "symbolic link": (field("files.0.link", "/etc/passwd"), "Extra inputs"),
    "same name twice": (repeated, "is there twice"),
    "other case": (in_another_case, "is there twice"),
    "a million files": (a_million_files, "at most 1,048,576"),
    "no weights": (without_weights, "'adapter_model.safetensors' is missing"),
    "size 2**63": (field("files.0.size_bytes", 2**63), "files.0.size_bytes"),
    "negative size": (field("files.0.size_bytes", -1), "files.0.size_bytes"),
    "size as text": (field("files.0.size_bytes", "10"), "files.0.size_bytes"),
    "short hash": (field("files.0.sha256", "ab"), "files.0.sha256"),
    "upper-case hash": (field("files.0.sha256", "A" * 64), "files.0.sha256"),
    "unknown schema": (field("schema_version", 2), "schema_version"),
    "extra key": (field("on_load", "import os"), "Extra inputs"),
    "other model": (field("model", "other"), "expected 'tiny-lora'"),
    "other version": (field("version", "v9.9"), "expected 'v1.0'"),
    "branch as revision": (
        field("lineage.base_model.revision", "main"),
        "base_model.revision",
    ),
    "changed config": (field("lineage.config", {"r": 64}), "json_sha256"),
    "files not in order": (lambda tree: tree["files"].reverse(), "order of their"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_manifest_is_refused_with_its_reason(attack: str) -> None:
    change, reason = ATTACKS[attack]
    tree = good()
    change(tree)
    with pytest.raises(ManifestRefused, match=reason) as refusal:
        parsed_manifest(canonical_json(tree), MODEL, "v1.0")
    assert len(refusal.value.message) < 10_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"[]", "manifest: Input should be an object"),
        (b"\xff", "utf-8"),
        (b"[" * 5000, "nested deeper"),
        (b'{"schema_version":1,"schema_version":1}', "there twice"),
        (b'{"schema_version":NaN}', "NaN"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ManifestRefused, match=reason):
        parsed_manifest(data, MODEL, "v1.0")


def test_another_text_for_the_same_manifest_is_refused() -> None:
    text = json.dumps(good(), sort_keys=True).encode()  # with spaces
    with pytest.raises(ManifestRefused, match="not canonical"):
        parsed_manifest(text, MODEL, "v1.0")


def test_a_manifest_survives_its_text() -> None:
    manifest = manifest_for(adapter_bytes(more=2))
    assert parsed_manifest(manifest.to_bytes(), MODEL, "v1.0") == manifest


def test_no_allowed_name_can_run_code_or_clash() -> None:
    assert file_name_problems(sorted(ALLOWED_FILES)) == []
    endings = {name.rpartition(".")[2] for name in ALLOWED_FILES if "." in name}
    assert endings == {"md", "json", "jinja", "txt", "sig", "yaml", "safetensors"}
