"""`registry`: the versions of adapters in a folder or in S3."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from packages.cloud.src.exit_codes import EX_DATAERR
from packages.cloud.src.object_store import ObjectStore, open_store
from packages.model_registry.src import (
    aliases,
    catalogue,
    garbage,
    repair,
    verify,
    yank,
)
from packages.model_registry.src.layout import PRODUCTION
from packages.model_registry.src.pull import pull as pull_version

app = typer.Typer(
    help="The versions of adapters in a folder or in S3.", no_args_is_help=True
)

Registry = Annotated[
    str, typer.Option("--registry", help="A folder, or s3://bucket/prefix.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(help="Name of the adapter, as in registry.name.")]
Version = Annotated[str, typer.Argument(help="A version such as v1.0, or an alias.")]
Alias = Annotated[str, typer.Option(help="Which alias to move.")]
DEFAULT = "registry"
METRICS = ("perplexity", "base_perplexity")
# Column of a terminal's table -> what it shows; --json has all of it. Fits 80 characters.
COLUMNS = {
    "model": "model",
    "version": "version",
    "aliases": "aliases",
    "state": "state",
    "perplexity": "perplexity",
    "base": "base_perplexity",
    "created": "created",
}


@app.command("ls")
def list_(
    model: Annotated[str, typer.Argument(help="Only this adapter.")] = "",
    registry: Registry = DEFAULT,
    as_json: Json = False,
) -> None:
    """List versions, newest first, with their perplexity and aliases."""
    store = open_store(registry)
    models = [model] if model else list(catalogue.list_models(store))
    rows = [
        {"model": name, **row}
        for name in models
        for row in catalogue.table_rows(catalogue.list_versions(store, name), METRICS)
    ]
    if not as_json:
        rows = [{title: row[key] for title, key in COLUMNS.items()} for row in rows]
    _print_rows(rows, as_json, f"nothing is registered in {store.uri}")


@app.command()
def show(
    model: Model, version: Version, registry: Registry = DEFAULT, as_json: Json = False
) -> None:
    """Show one version: its files, where it comes from, and what it measured."""
    found = catalogue.show(open_store(registry), model, version)
    manifest = found.manifest.model_dump(mode="json")
    if as_json:
        _print_json(asdict(found) | {"manifest": manifest})
        return
    lineage = manifest["lineage"]
    rows = {
        "version": f"{found.model} {found.version}",
        "aliases": ", ".join(found.aliases) or "–",
        "yanked": found.yanked.reason if found.yanked else "no",
        "where": found.uri,
        "created": f"{found.created_at:%Y-%m-%d %H:%M:%S %Z}",
        "run": lineage["run"],
        "git": f"{lineage['git_sha']}{' with changes' if lineage['git_dirty'] else ''}",
        "base model": f"{lineage['base_model']['name']}@{lineage['base_model']['revision']}",
        "data sha256": lineage["data_sha256"],
        "config sha256": lineage["config_sha256"],
        **{name: f"{value:.6g}" for name, value in lineage["metrics"].items()},
        **{
            f["path"]: f"{f['size_bytes']:,} bytes, sha256 {f['sha256']}"
            for f in manifest["files"]
        },
    }
    for name, value in rows.items():
        print(f"{name:<28} {value}")


@app.command()
def why(
    model: Model, version: Version, registry: Registry = DEFAULT, as_json: Json = False
) -> None:
    """Show the gate's verdict that let a version in: each rule with its numbers."""
    verdict = catalogue.show(open_store(registry), model, version).manifest.lineage.gate
    rows: list[dict[str, Any]] = [dict(rule) for rule in verdict["rules"]]  # type: ignore[union-attr, arg-type]
    _print_rows(
        [{k: rule[k] for k in ("name", "passed", "reason")} for rule in rows],
        as_json,
        "",
    )


@app.command()
def diff(
    model: Model,
    left: Version,
    right: Version,
    registry: Registry = DEFAULT,
    as_json: Json = False,
) -> None:
    """Show where two versions differ: configuration, data, metrics, files."""
    found = catalogue.diff(open_store(registry), model, left, right)
    rows = [{"field": d.field, left: d.left, right: d.right} for d in found]
    _print_rows(rows, as_json, f"{left} and {right} are the same")


@app.command()
def history(
    model: Model,
    alias: Alias = PRODUCTION,
    registry: Registry = DEFAULT,
    as_json: Json = False,
) -> None:
    """Show every move of an alias: when, which version, by whom."""
    moves = aliases.history(open_store(registry), model, alias)
    rows = [
        {
            "gen": str(move.generation),
            "at": f"{move.at:%Y-%m-%d %H:%M:%S %Z}",
            "what": move.kind,
            "version": move.version,
            "by": move.by,
        }
        for move in moves
    ]
    _print_rows(rows, as_json, f"{alias} was never set")


@app.command()
def promote(
    model: Model,
    version: Version,
    alias: Alias = PRODUCTION,
    registry: Registry = DEFAULT,
) -> None:
    """Let an alias stand for a version."""
    _print_state(aliases.promote(open_store(registry), model, version, alias))


@app.command()
def rollback(
    model: Model, alias: Alias = PRODUCTION, registry: Registry = DEFAULT
) -> None:
    """Let an alias stand again for the version before."""
    _print_state(aliases.rollback(open_store(registry), model, alias))


@app.command("yank")
def yank_(
    model: Model,
    version: Version,
    reason: Annotated[str, typer.Option(help="Why nobody should load it.")],
    registry: Registry = DEFAULT,
) -> None:
    """Withdraw a version. It stays readable by its number, and its number is never used again."""
    yank.yank(open_store(registry), model, version, reason)
    print(f"{model} {version} is yanked: {reason}")


@app.command("verify")
def verify_(
    model: Annotated[str, typer.Argument(help="Only this adapter.")] = "",
    registry: Registry = DEFAULT,
) -> None:
    """Read every byte of every version, and say what is damaged."""
    store = open_store(registry)
    findings = [f for name in _models(store, model) for f in verify.verify(store, name)]
    for finding in findings:
        cure = (
            f"registry repair {finding.key.split('/')[0]}" if finding.repairable else ""
        )
        print(f"{finding.key}: {finding.problem}{f' -> {cure}' if cure else ''}")
    print(f"{len(findings)} problems in {store.uri}")
    raise typer.Exit(EX_DATAERR if findings else 0)


@app.command("repair")
def repair_(model: Model, registry: Registry = DEFAULT) -> None:
    """Make again what can be made from what is whole."""
    written = repair.repair(open_store(registry), model)
    for key in written:
        print(f"made again: {key}")
    print(
        f"{len(written)} objects repaired; `registry verify {model}` says what remains"
    )


@app.command("pull")
def pull(
    model: Model,
    version: Version,
    destination: Annotated[Path, typer.Argument(help="A new folder.")],
    registry: Registry = DEFAULT,
) -> None:
    """Copy the verified files of a version into a new folder."""
    print(pull_version(open_store(registry), model, version, destination))


@app.command()
def gc(
    model: Model,
    delete: Annotated[
        bool, typer.Option("--delete", help="Really remove them.")
    ] = False,
    registry: Registry = DEFAULT,
) -> None:
    """List the stored bytes that no version needs; with --delete, remove them."""
    found = garbage.gc(open_store(registry), model, dry_run=not delete)
    print(
        f"{len(found.sha256s)} blobs, {found.size_bytes:,} bytes {'removed' if delete else 'not needed'}"
    )


def _models(store: ObjectStore, model: str) -> list[str]:
    return [model] if model else list(catalogue.list_models(store))


def _print_state(state: aliases.AliasState) -> None:
    former = f" (before: {state.former_version})" if state.former_version else ""
    print(f"{state.model} {state.alias} is {state.version}{former}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


def _print_rows(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        _print_json(rows)
    elif not rows:
        print(nothing)
    else:
        table = Table(box=None, header_style="bold")
        for position, name in enumerate(rows[0]):
            table.add_column(name, overflow="fold", no_wrap=position == 0)
        for row in rows:
            table.add_row(*(Text(str(value)) for value in row.values()))
        console = Console()
        if not console.is_terminal:  # a log or a pipe has no width to fit
            console.width = 160
        console.print(table)
