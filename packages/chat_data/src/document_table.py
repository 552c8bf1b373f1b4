"""Validated documents as a memory-mapped Hugging Face data set: any size on disk, little in memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from packages.chat_data.src.document import Document, Message

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_PER_BATCH = 1_000
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_SCHEMA = pa.schema(
    [
        ("messages", pa.list_(_MESSAGE)),
        ("text", pa.large_string()),
        ("where", pa.string()),
    ]
)


def write_documents(documents: Iterable[Document], path: Path) -> "Dataset":
    """The documents, in order, as a data set that maps the file at `path`."""
    from datasets import Dataset

    remaining = iter(documents)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as stream:
        while batch := list(islice(remaining, ROWS_PER_BATCH)):
            stream.write_batch(_record_batch(batch))
    return Dataset.from_file(str(path))


def document_batches(dataset: "Dataset") -> Iterator[list[Document]]:
    """The documents again, in order, up to 1,000 at a time."""
    for table in dataset.with_format("arrow").iter(ROWS_PER_BATCH):
        columns = [table.column(name).to_pylist() for name in _SCHEMA.names]
        yield [
            Document(
                tuple(Message(turn["role"], turn["content"]) for turn in turns),
                text,
                where,
            )
            for turns, text, where in zip(*columns, strict=True)
        ]


def _record_batch(documents: list[Document]) -> pa.RecordBatch:
    messages = [
        [{"role": turn.role, "content": turn.content} for turn in one.messages]
        for one in documents
    ]
    columns = (
        messages,
        [one.text for one in documents],
        [one.where for one in documents],
    )
    arrays = [
        pa.array(column, field.type)
        for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)
