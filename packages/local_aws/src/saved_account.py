"""Keeps the emulated account in a file, so that it survives a restart.

moto holds everything in memory and has no way to save it; most of it can be pickled.
What cannot be is taken apart here: locks, functions made inside methods, dictionaries
that show only a part of what they hold (the last version of each object), jobs.
"""

import io
import logging
import marshal
import pickle
import threading
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moto.backends
import moto.batch.models as moto_batch
from moto.core.base_backend import BaseBackend

log = logging.getLogger(__name__)
SERVICES = (
    "s3",
    "iam",
    "sts",
    "ecr",
    "batch",
    "logs",
    "ssm",
    "secretsmanager",
    "ec2",
    "ecs",
)
LOCKS = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
}


def _rebuild_function(
    module: str, code: bytes, name: str, cells: tuple[Any, ...]
) -> types.FunctionType:
    __import__(module)
    closure = tuple(types.CellType(cell) for cell in cells)
    return types.FunctionType(
        marshal.loads(code),  # noqa: S302, our own file
        vars(__import__("sys").modules[module]),
        name,
        None,
        closure,
    )


def _rebuild_dict(
    cls: type[dict[Any, Any]], factory: Any, items: dict[Any, Any]
) -> dict[Any, Any]:
    made = cls.__new__(cls)
    if isinstance(made, defaultdict):
        defaultdict.__init__(made, factory)
    dict.update(made, items)
    return made


def _nothing() -> None:
    """What a job is after a restart: no longer known to Batch."""


class _Pickler(pickle.Pickler):
    """Backends refer to each other by name."""

    def __init__(
        self, stream: io.BytesIO, names: dict[int, tuple[str, str, str]]
    ) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._names = names

    def persistent_id(self, obj: Any) -> Any:
        return self._names.get(id(obj)) if isinstance(obj, BaseBackend) else None

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in LOCKS:
            return LOCKS[type(obj)], ()
        if isinstance(obj, dict) and type(obj).__module__.startswith("moto."):
            factory = getattr(obj, "default_factory", None)
            parts = (type(obj), factory, dict(dict.items(obj)))
            return _rebuild_dict, parts, vars(obj)
        if isinstance(obj, moto_batch.Job):
            return _nothing, ()
        if isinstance(obj, types.FunctionType) and "<locals>" in obj.__qualname__:
            cells = tuple(cell.cell_contents for cell in obj.__closure__ or ())
            code = marshal.dumps(obj.__code__)  # noqa: S302
            return _rebuild_function, (obj.__module__, code, obj.__name__, cells)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return _backend(*pid)


def _backend(service: str, account: str, region: str) -> Any:
    return moto.backends.get_backend(service)[account][region]


def _backends() -> Iterator[tuple[str, str, str, Any]]:
    """(service, account, region, backend) of all that was used."""
    for service in SERVICES:
        for account, regions in list(moto.backends.get_backend(service).items()):
            for region, backend in list(dict.items(regions)):
                if service in ("iam", "sts") and region != "aws":
                    continue  # partitions of other countries, 4 MB of policies each
                yield service, account, region, backend


def save_account(file: Path) -> None:
    """Write the account, in one piece: a crash leaves the former file."""
    backends = list(_backends())
    names = {id(found[3]): found[:3] for found in backends}
    saved = []
    for *name, backend in backends:
        stream = io.BytesIO()
        _Pickler(stream, names).dump(vars(backend))
        saved.append((name, stream.getvalue()))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(saved, pickle.HIGHEST_PROTOCOL))
    partial.replace(file)


def load_account(file: Path) -> bool:
    """Put back what `save_account` wrote; False when there is no such file."""
    if not file.exists():
        return False
    for name, state in pickle.loads(file.read_bytes()):  # noqa: S301, our own file
        vars(_backend(*name)).update(_Unpickler(io.BytesIO(state)).load())
    for *_, batch in (found for found in _backends() if found[0] == "batch"):
        batch._jobs.clear()
        for queue in batch._job_queues.values():
            queue.jobs.clear()
    log.info("account read from %s", file)
    return True
