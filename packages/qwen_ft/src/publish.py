"""7. What passed the gate becomes a version in production: registry first, the run's tag last."""

import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metaflow import Flow, current, namespace

from packages.cloud.src.object_store import open_store
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.layout import PRODUCTION
from packages.model_registry.src.manifest import ALLOWED_FILES
from packages.model_registry.src.register import RegisteredVersion, register
from packages.qwen_ft.src.adapter_files import fetch_adapter
from packages.qwen_ft.src.champion import SCORES_FILE
from packages.qwen_ft.src.finished_run import FinishedRun
from packages.qwen_ft.src.gate import scores_to_keep
from packages.qwen_ft.src.lineage import lineage_of

log = logging.getLogger(__name__)


def publish(run: FinishedRun) -> RegisteredVersion | None:
    """Register and promote the adapter that was measured; None, and nothing written, if it was rejected.

    Doing it again for the same run changes nothing, so a crash anywhere is cured by `resume`.

    Raises:
        UserError: the registry cannot be written, or refuses the files.
    """
    if not run.verdict.accepted:
        return None
    name = run.config.registry.name
    store = open_store(run.config.registry.uri)
    with tempfile.TemporaryDirectory(prefix="qwen_ft-") as scratch:
        folder = fetch_adapter(run.adapter, Path(scratch) / "version")
        for file, content in _records(run).items():
            (folder / file).write_text(
                json.dumps(content, sort_keys=True, indent=1) + "\n"
            )
        files = {
            path.name: path for path in folder.iterdir() if path.name in ALLOWED_FILES
        }
        registered = register(store, name, files, lineage_of(run))
    promote(store, name, registered.version, PRODUCTION, operation=run.pathspec)
    tag_as_production(run.pathspec)
    return registered


def tag_as_production(pathspec: str) -> None:
    """Take the tag `production` from the runs that had it, then give it to this run.

    In this order, since Metaflow's local metadata dates a run by the last change of its tags: the
    other way round, `latest_run` would be the former champion. Readers trust the registry, never
    these tags: between the two calls, no run has it.
    """
    flow_name, run_id = pathspec.split("/")
    namespace(None)
    for former in list(Flow(flow_name).runs(PRODUCTION)):
        if former.id != run_id:
            former.remove_tag(PRODUCTION)
    current.run.add_tag(PRODUCTION)


def _records(run: FinishedRun) -> dict[str, Any]:
    """File name to content of what is kept beside the weights."""
    return {
        SCORES_FILE: scores_to_keep(run.report),
        "samples.json": [asdict(sample) for sample in run.report.samples],
        "training_curves.json": [asdict(point) for point in run.adapter.curves],
        "run_config.json": run.config.model_dump(mode="json"),
    }
