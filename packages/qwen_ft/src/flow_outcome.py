"""Runs a flow so that a person reads its outcome: the summary, or one message and its exit code.

Metaflow runs each step as a child process and shows the child's output line by line behind a
prefix. What a step wants said at the very end goes through a small file that the parent names in
`OUTCOME_VARIABLE`; a step on AWS Batch has no such parent and prints instead.
"""

import errno
import getpass
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from metaflow import FlowSpec
from metaflow.exception import MetaflowException
from metaflow.parameters import flow_context
from metaflow.util import get_username

from packages.cloud.src.exit_codes import EX_CANTCREAT, EX_CONFIG, EX_NOPERM, UserError
from packages.qwen_ft.src.terminal_progress import progress_drawn

OUTCOME_VARIABLE = "QWEN_FT_OUTCOME"
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def run_flow(flow_class: type[FlowSpec]) -> None:
    """Run the command line of `flow_class`; ends the process with the exit code."""
    if get_username() is None:  # Metaflow runs neither for nobody nor for root
        user = getpass.getuser()
        os.environ["USERNAME"] = user if user != "root" else "root_user"
    os.environ.setdefault(
        "METAFLOW_PYLINT", "0"
    )  # a linter of flows, and it is not in the lock
    if OUTCOME_VARIABLE in os.environ:
        sys.exit(_run(flow_class))
    with tempfile.TemporaryDirectory(prefix="qwen_ft-") as folder:
        outcome = Path(folder) / "outcome.json"
        os.environ[OUTCOME_VARIABLE] = str(outcome)
        with progress_drawn(Path(folder) / "progress.json"):
            status = _run(flow_class)
        if told := _told():
            status = told["exit_code"] if status else 0
            print(f"\n{told['message']}", file=sys.stderr if status else sys.stdout)
    sys.exit(status)


def tell_at_the_end(message: str, exit_code: int = 0) -> None:
    """Leave the last words of this run; a message with an exit code is not written over."""
    place = os.environ.get(OUTCOME_VARIABLE, "")
    if not Path(place).parent.is_dir() or not place:
        print(message, file=sys.stderr if exit_code else sys.stdout)
        return
    if (former := _told()) and former["exit_code"]:
        return
    told = {"message": message, "exit_code": exit_code}
    part = Path(f"{place}.{os.getpid()}")
    part.write_text(json.dumps(told))
    part.replace(place)


def _told() -> dict[str, Any] | None:
    place = Path(os.environ[OUTCOME_VARIABLE])
    return json.loads(place.read_text()) if place.exists() else None


def _run(flow_class: type[FlowSpec]) -> int:
    """The exit status of one Metaflow command; errors are shown here, not raised."""
    with flow_context(
        flow_class
    ):  # the options of a flow are read when its CLI is imported
        from metaflow import cli
    try:
        with flow_context(flow_class):
            cli.main(flow_class(use_cli=False), handle_exceptions=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except UserError as error:
        tell_at_the_end(error.message, error.exit_code)
        return error.exit_code
    except UnicodeDecodeError as error:  # a configuration that Metaflow reads as text
        tell_at_the_end(
            f"A configuration file is not UTF-8 text: {error}. Save it as UTF-8.",
            EX_CONFIG,
        )
        return EX_CONFIG
    except PermissionError as error:
        tell_at_the_end(
            f"No permission: {error.filename}. Give this user the right to it, or name another place.",
            EX_NOPERM,
        )
        return EX_NOPERM
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            return _show_unexpected(error)
        tell_at_the_end(
            f"Cannot write {error.filename or 'a file'}: {error.strerror}. Free some space or name "
            "another place, then run `resume`: what was finished is kept.",
            EX_CANTCREAT,
        )
        return EX_CANTCREAT
    except MetaflowException as error:
        if not _told():  # a step that said why it stopped has said enough
            cli.print_metaflow_exception(error)
        return 1
    except Exception as error:  # the last frame of the program, as in metaflow.cli.main
        return _show_unexpected(error)
    return 0


def _show_unexpected(error: Exception) -> int:
    from metaflow.cli import print_unknown_exception

    print_unknown_exception(error)
    return 1
