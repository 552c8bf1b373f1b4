"""Flows, runs, steps, tasks, artifacts and metadata, in SQLite.

Each record is the JSON that Metaflow's metadata service returns for it. The key of a
record is its place in the tree: `Flow`, `Flow/7`, `Flow/7/train`, `Flow/7/train/42`.
"""

import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT, parent TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, parent, id));
CREATE TABLE IF NOT EXISTS notes (
    number INTEGER PRIMARY KEY, kind TEXT, task TEXT, name TEXT, attempt INTEGER, body TEXT);
CREATE INDEX IF NOT EXISTS notes_of_task ON notes (task, kind);
CREATE TABLE IF NOT EXISTS counters (kind TEXT PRIMARY KEY, value INTEGER);
"""
Record = dict[str, Any]


def milliseconds() -> int:
    """Since the epoch, as Metaflow's `ts_epoch`."""
    return int(time.time() * 1000)


class MetadataStore:
    """Safe to use from many threads. In memory, or in `file`, where it stays."""

    def __init__(self, file: Path | None = None) -> None:
        self._connection = sqlite3.connect(
            file or ":memory:", check_same_thread=False, isolation_level=None
        )
        self._connection.executescript(SCHEMA)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._lock = threading.RLock()

    def close(self) -> None:
        """Write everything out."""
        with self._lock:
            self._connection.close()

    def next_number(self, kind: str) -> int:
        """1, 2, 3, ... per kind; never the same twice."""
        with self._lock:
            row = self._connection.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (kind) "
                "DO UPDATE SET value = value + 1 RETURNING value",
                (kind,),
            ).fetchone()
            return int(row[0])

    def create(self, kind: str, parent: str, name: str, body: Record) -> bool:
        """Whether the record is new; one that exists stays as it is."""
        with self._lock:
            done = self._connection.execute(
                "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)",
                (kind, parent, name, json.dumps(body)),
            )
            return done.rowcount == 1

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        """One record."""
        with self._lock:
            row = self._connection.execute(
                "SELECT body FROM records WHERE kind = ? AND parent = ? AND id = ?",
                (kind, parent, name),
            ).fetchone()
        return json.loads(row[0]) if row else None

    def children(self, kind: str, parent: str) -> list[Record]:
        """Records of one kind below `parent`, the newest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT body FROM records WHERE kind = ? AND parent = ? "
                "ORDER BY rowid DESC",
                (kind, parent),
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def change(self, kind: str, parent: str, name: str, changed: Record) -> None:
        """Set fields of one record; nothing happens if it is not there."""
        with self._lock:
            found = self.get(kind, parent, name)
            if found is not None:
                self._connection.execute(
                    "UPDATE records SET body = ? "
                    "WHERE kind = ? AND parent = ? AND id = ?",
                    (json.dumps({**found, **changed}), kind, parent, name),
                )

    def change_tags(
        self, flow: str, run: str, add: Iterable[str], remove: Iterable[str]
    ) -> list[str] | None:
        """The run's tags after the change, made in one piece; None without such a run.

        Raises:
            ValueError: a tag to remove is a system tag.
        """
        with self._lock:
            found = self.get("run", flow, run)
            if found is None:
                return None
            system = set(found["system_tags"])
            if fixed := sorted(set(remove) & system):
                raise ValueError(f"cannot remove system tags {', '.join(fixed)}")
            tags = sorted((set(found["tags"]) - set(remove)) | (set(add) - system))
            self.change("run", flow, run, {"tags": tags})
            return tags

    def add_note(
        self, kind: str, task: str, name: str, attempt: int, body: Record
    ) -> None:
        """Keep one artifact or metadata entry of a task."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO notes (kind, task, name, attempt, body) "
                "VALUES (?, ?, ?, ?, ?)",
                (kind, task, name, attempt, json.dumps(body)),
            )

    def artifacts(self, task: str, attempt: int | None) -> dict[str, Record]:
        """By name: those of one attempt, or of the last that wrote any."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT name, attempt, body FROM notes "
                "WHERE task = ? AND kind = 'artifact' ORDER BY number",
                (task,),
            ).fetchall()
        wanted = (
            max((row[1] for row in rows), default=0) if attempt is None else attempt
        )
        return {name: json.loads(body) for name, of, body in rows if of == wanted}

    def metadata(self, task: str) -> list[Record]:
        """Every metadata entry of a task, in the order of writing, with its `id`."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT number, body FROM notes "
                "WHERE task = ? AND kind = 'metadata' ORDER BY number",
                (task,),
            ).fetchall()
        return [{**json.loads(body), "id": number} for number, body in rows]

    def tasks_with(
        self, step: str, field: str | None, pattern: str | None
    ) -> list[str]:
        """Pathspecs of a step's tasks that have a metadata field, its value matching."""
        found = []
        for task in self.children("task", step):
            path = f"{step}/{task['task_id']}"
            if field is None and pattern is None:
                found.append(path)
                continue
            if any(
                (field is None or entry["field_name"] == field)
                and (pattern is None or re.search(pattern, str(entry["value"])))
                for entry in self.metadata(path)
            ):
                found.append(path)
        return found
