"""`aws`: AWS on this machine, to run and debug Batch steps without an account."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from packages.cloud.src.exit_codes import EX_UNAVAILABLE, UserError
from packages.local_aws.src.emulator import Emulator, EmulatorProblem, default_folder
from packages.local_aws.src.metaflow_profile import metaflow_home

app = typer.Typer(
    help="AWS on this machine: S3, Batch whose jobs run, a metadata service.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option(help="Where the emulator keeps its state, log and job folders."),
]
Wanted = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, its beginning, or its name.")
]
PORT = 5600


@app.command()
def up(
    folder: Folder = None,
    port: Annotated[
        int, typer.Option(help="AWS answers here, the rest on the next; 0: any.")
    ] = PORT,
    data: Annotated[
        Path | None, typer.Option(help="Keep the account and all runs in this folder.")
    ] = None,
    enforce_iam: Annotated[
        bool, typer.Option(help="Refuse what the policies do not allow.")
    ] = False,
    managed_policies: Annotated[
        bool, typer.Option(help="Know AWS's own IAM policies; Terraform needs them.")
    ] = False,
) -> None:
    """Start it, write the Metaflow profile, and print the lines that use it."""
    with _problems_as_messages():
        emulator = Emulator(folder or default_folder())
        state = emulator.start(
            metaflow_home=metaflow_home(),
            aws_port=port,
            local_port=port + 1 if port else 0,
            data=data,
            enforce_iam=enforce_iam,
            managed_policies=managed_policies,
            ends_with_me=False,
        )
        typer.echo(
            f"AWS at {state.aws_url}, metadata at {state.local_url} "
            f"(process {state.pid}, log in {emulator.folder}). To use it:\n",
            err=True,
        )
        for line in emulator.exports():
            typer.echo(line)


@app.command()
def down(folder: Folder = None) -> None:
    """Stop it, and every job that runs on it."""
    with _problems_as_messages():
        emulator = Emulator(folder or default_folder())
        stopped = emulator.stop()
        typer.echo("stopped" if stopped else f"nothing runs in {emulator.folder}")


@app.command()
def status(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where it answers, its jobs, and the lines that use it."""
    with _problems_as_messages():
        emulator = Emulator(folder or default_folder())
        state, jobs = emulator.state(), emulator.jobs()
    if as_json:
        shown = {"aws": state.aws_url, "metadata": state.local_url, "pid": state.pid}
        typer.echo(json.dumps(shown | {"jobs": [asdict(job) for job in jobs]}))
        return
    typer.echo(f"AWS at {state.aws_url}, metadata at {state.local_url}")
    typer.echo("\n".join(emulator.exports()))
    table = Table("job", "status", "name", "reason", box=None)
    for job in jobs:
        table.add_row(job.job_id, job.status, job.name, job.reason)
    if jobs:
        Console().print(table)


@app.command()
def logs(job: Wanted, folder: Folder = None) -> None:
    """Print what a job wrote, every attempt of it, from CloudWatch."""
    with _problems_as_messages():
        emulator = Emulator(folder or default_folder())
        for line in emulator.log_lines(emulator.find_job(job).job_id):
            typer.echo(line)


@app.command()
def kill(
    job: Wanted,
    as_spot: Annotated[
        bool, typer.Option("--as-spot", help="Take its machine away, as AWS does.")
    ] = False,
    folder: Folder = None,
) -> None:
    """End a job: ask it to stop, or take its machine away."""
    with _problems_as_messages():
        emulator = Emulator(folder or default_folder())
        found = emulator.find_job(job)
        reason = emulator.kill(found.job_id, as_spot=as_spot)
        typer.echo(f"{found.name} ({found.job_id}): {reason}")


@contextlib.contextmanager
def _problems_as_messages() -> Iterator[None]:
    try:
        yield
    except EmulatorProblem as problem:
        raise UserError(str(problem), EX_UNAVAILABLE) from problem
