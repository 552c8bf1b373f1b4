"""Imports point down the layers, and never sideways between packages of one layer."""

import ast
from pathlib import Path

import pytest

LAYERS = {
    "cli": 3,
    "qwen_ft": 2,
    "nlp_tasks": 2,
    "adapter_server": 2,
    "drift": 2,
    "chat_data": 1,
    "evaluation": 1,
    "model_registry": 1,
    "cloud": 0,
    "local_aws": 0,
}
# AWS on a laptop is for tests and the command line; the product never knows of it.
ONLY_FOR = {"local_aws": {"cli", "local_aws"}}
PACKAGES = Path(__file__).resolve().parents[1] / "packages"


def wrong_imports(package: str, source: str) -> list[str]:
    """The imports of `source`, a module of `package`, that point up or sideways."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            parts = name.split(".")
            if parts[0] != "packages" or len(parts) < 2 or parts[1] == package:
                continue
            target = parts[1]
            allowed = package in ONLY_FOR.get(target, {package})
            if not allowed or LAYERS[target] >= LAYERS[package]:
                wrong.append(f"{package} imports {name}")
    return wrong


def modules() -> list[Path]:
    return sorted(PACKAGES.glob("*/src/**/*.py")) + sorted(
        PACKAGES.glob("*/starter/*.py")
    )


def test_every_package_has_a_layer():
    found = {path.relative_to(PACKAGES).parts[0] for path in modules()}

    assert len(found) >= 5
    assert found <= set(LAYERS)


@pytest.mark.parametrize(
    "path", modules(), ids=lambda path: str(path.relative_to(PACKAGES))
)
def test_imports_point_down_the_layers(path):
    assert wrong_imports(path.relative_to(PACKAGES).parts[0], path.read_text()) == []


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("cloud", "from packages.chat_data.src.document import Document"),
        ("chat_data", "import packages.qwen_ft.src.config"),
        ("chat_data", "from packages.evaluation.src.perplexity import perplexity"),
        ("qwen_ft", "from packages.adapter_server.src.app import create_app"),
        ("qwen_ft", "from packages.local_aws.src.batch import jobs"),
    ],
)
def test_a_wrong_import_is_found(package, line):
    assert len(wrong_imports(package, line)) == 1


def test_an_import_down_the_layers_is_fine():
    assert (
        wrong_imports("qwen_ft", "from packages.cloud.src.exit_codes import UserError")
        == []
    )
