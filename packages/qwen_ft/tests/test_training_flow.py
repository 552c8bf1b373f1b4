"""The flow reads as a table of contents, and looking at it costs nothing."""

import ast
import inspect
import subprocess
import sys

from packages.qwen_ft.src.flows import training_flow


def steps():
    tree = ast.parse(inspect.getsource(training_flow))
    (flow,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return [node for node in flow.body if isinstance(node, ast.FunctionDef)]


def test_every_step_fits_in_twelve_lines():
    lengths = {step.name: step.end_lineno - step.lineno + 1 for step in steps()}

    assert list(lengths) == ["start", "tokenize", "train", "select", "evaluate", "end"]
    assert max(lengths.values()) <= 12, lengths


def test_importing_the_flow_does_not_import_torch():
    code = (
        "import sys; import packages.qwen_ft.src.flows.training_flow; "
        "print(sorted({'torch', 'transformers', 'datasets', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": "."},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
