"""Lets Metaflow's step processes import `packages`."""

import os
from pathlib import Path

import packages


def share_import_root_with_steps() -> None:
    """Put the folder that holds `packages/` on PYTHONPATH, for child processes.

    Metaflow starts every step as `python .../flows/training_flow.py step ...`, so a
    step's `sys.path` begins at `flows/`, not at the root that `python -m` gave.
    """
    # Not parents[n] of this file: in the code package of a Batch job the flow's own
    # folder is at the top.
    root = str(Path(packages.__path__[0]).resolve().parent)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [path for path in known if path and path != root]
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *others])
