"""Runs the training flow as a user does: a process of its own, in an empty folder."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FLOW = "packages.qwen_ft.src.flows.training_flow"
ROOT = Path(__file__).resolve().parents[2]
# Small enough for a test, large enough to learn: 400 documents, 40 steps.
SMALL = (
    "data.max_documents=400 training.max_steps=40 training.eval_steps=20 "
    "evaluation.sample_documents=1 evaluation.sample_tokens=16 evaluation.validation_documents=20"
)


@dataclass(frozen=True)
class Finished:
    """What a command printed and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def environment(folder: Path) -> dict[str, str]:
    """A user's environment with nothing in it but what the command needs."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "METAFLOW_USER": "tester",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        # The tests' own interpreter finds the libraries here; `./python` would find its own.
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }


def run_flow(folder: Path, *words: str, timeout_s: float = 600) -> Finished:
    """`python -m <the flow> <words>` in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", FLOW, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def client(folder: Path, code: str) -> str:
    """What Metaflow's client, in a process of its own, prints for `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()
