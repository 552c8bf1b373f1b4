"""`docs`: writes docs/reference from the code, so that it cannot lag behind."""

from pathlib import Path
from typing import Any

import typer

app = typer.Typer(help="The reference pages made from the code.", no_args_is_help=True)
REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"


@app.callback()
def pages() -> None:
    """The reference pages made from the code."""


@app.command()
def write() -> None:
    """Write every generated page of docs/reference."""
    for name, text in generated_pages().items():
        (REFERENCE / name).write_text(text)
        print(f"wrote docs/reference/{name}")


def generated_pages() -> dict[str, str]:
    """File name to content of each page."""
    from packages.qwen_ft.src.config_reference import (
        config_reference,
        config_schema_page,
    )

    return {
        "cli.md": _cli_page(),
        "configuration.md": config_reference(),
        "configuration.schema.json": config_schema_page(),
        "flow.md": _flow_page(),
    }


def _flow_page() -> str:
    from packages.qwen_ft.src.flow_diagram import flow_diagram, read_steps
    from packages.qwen_ft.src.flows.training_flow import TrainingFlow

    rows = [
        f"| `{step.name}` | {'Batch GPU' if step.on_batch else 'local'} | {step.first_line} "
        f"| {_names(step.consumes)} | {_names(step.produces)} |"
        for step in read_steps(TrainingFlow)
    ]
    return "\n".join(
        [
            "# The flow",
            "",
            "Made from `training_flow.py` by `./python -m packages.cli docs write`.",
            "",
            "| step | where | what it does | consumes | produces |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "```mermaid",
            flow_diagram(TrainingFlow).rstrip(),
            "```",
            "",
        ]
    )


def _cli_page() -> str:
    from typer.main import get_command

    from packages.cli.src.main import app as whole

    lines = [
        "# Command line",
        "",
        "Made from `--help` by `./python -m packages.cli docs write`.",
        "",
    ]

    def describe(command: Any, path: str) -> None:
        inner = getattr(command, "commands", {})
        if not inner:
            lines.extend([f"## `{path}`", "", (command.help or "").strip(), ""])
            lines.extend(_parameter_rows(command))
        for name in sorted(inner):
            describe(inner[name], f"{path} {name}")

    describe(get_command(whole), "./python -m packages.cli")
    return "\n".join(lines)


def _parameter_rows(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        named = ", ".join(f"`{o}`" for o in parameter.opts)
        text = getattr(parameter, "help", "") or ""
        kind = "argument" if parameter.param_type_name == "argument" else "option"
        rows.append(f"| {named} | {kind} | {text} |")
    return ["| name | kind | meaning |", "|---|---|---|", *rows, ""] if rows else []


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"
