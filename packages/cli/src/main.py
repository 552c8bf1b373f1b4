"""The command line around the flow: one file per subcommand, no logic here."""

import sys

import typer

from packages.cli.src import aws, docs, registry
from packages.cli.src.doctor import doctor
from packages.cloud.src.exit_codes import UserError

app = typer.Typer(
    name="python -m packages.cli",
    help="Look after what the training flow makes. The flow itself is "
    "`python -m packages.qwen_ft.src.flows.training_flow run`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(registry.app, name="registry")
app.add_typer(aws.app, name="aws")
app.add_typer(docs.app, name="docs")
app.command()(doctor)


def main() -> None:
    """Run one subcommand; a user's mistake is one message and its exit code, no traceback."""
    try:
        app()
    except UserError as error:
        print(error.message, file=sys.stderr)
        sys.exit(error.exit_code)
