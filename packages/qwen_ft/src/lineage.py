"""Where an adapter comes from, as its manifest says it: run, code, configuration, data, base model, machine."""

import hashlib
import platform
import subprocess  # noqa: S404, git alone
from importlib import metadata
from pathlib import Path
from typing import Any

from metaflow.metaflow_config import BATCH_CONTAINER_IMAGE

from packages.model_registry.src.canonical_json import json_sha256
from packages.qwen_ft.src.finished_run import FinishedRun

ROOT = Path(__file__).resolve().parents[3]


def lineage_of(run: FinishedRun) -> dict[str, Any]:
    """The fields of the registry's `Lineage`; no wall-clock time is among them."""
    commit, dirty = git_state(ROOT)
    config = run.config.model_dump(mode="json")
    trained = run.adapter
    return {
        "run": run.pathspec,
        "git_sha": commit,
        "git_dirty": dirty,
        "config": config,
        "config_sha256": json_sha256(config),
        "data_sha256": run.tokens.data_sha256,
        "tokenizer_sha256": run.tokens.tokenizer_sha256,
        "template_sha256": run.tokens.template_sha256,
        "base_model": {"name": run.base.name, "revision": run.base.revision},
        "lock_sha256": lock_sha256(),
        "image_digest": (BATCH_CONTAINER_IMAGE or "").partition("@")[2] or None,
        "seeds": {
            "training": run.config.with_trial(dict(trained.trial)).training.seed,  # type: ignore[arg-type]
            "split": run.config.data.split_seed,
            "gate": run.config.gate.seed,
        },
        "metrics": run.report.metrics(),
        "gate": run.verdict.to_dict(),
        "hardware": {"machine": platform.machine(), "precision": trained.precision},
        "usage": {
            "train_tokens": trained.train_tokens,
            "train_seconds": trained.train_seconds,
            "seconds": trained.seconds,
        },
    }


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """(commit, uncommitted changes) of the checkout that `folder` is in; (None, None) outside one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def lock_sha256() -> str:
    """Hash of the lock that this checkout was set up from; outside one, of the installed versions."""
    lock = ROOT / "3rdparty" / "python" / "cpu.lock"
    if lock.is_file():
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    pins = {
        f"{d.metadata['Name'].lower()}=={d.version}" for d in metadata.distributions()
    }
    return hashlib.sha256("\n".join(sorted(pins)).encode()).hexdigest()


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603, fixed words
        ["git", "-C", str(folder), *words],  # noqa: S603, S607
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
