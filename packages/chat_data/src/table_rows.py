"""CSV and Parquet to the same rows that JSON Lines gives."""

import csv
import tempfile
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.problems import BadData, Problem, ReadReport
from packages.chat_data.src.text_blocks import TextBlock

ROWS_PER_BATCH = 1_024


def csv_rows(
    blocks: Iterator[TextBlock],
    place: str,
    report: ReadReport,
    limits: ReadLimits,
    delimiter: str,
) -> Iterator[tuple[int, dict[str, object]]]:
    """(line of the row's end, row). The first row names the columns.

    Raises:
        BadData: FT-D045 a column name is there twice, FT-D040 the quoting is broken beyond a row.
    """
    csv.field_size_limit(limits.line_bytes)
    reader = csv.reader(_lines(blocks), delimiter=delimiter, strict=True)
    header: list[str] = []
    previous = 0
    try:
        for values in reader:
            # A quoted field may hold line ends: such a row counts as one.
            report.lines -= max(0, reader.line_num - previous - 1)
            previous = reader.line_num
            if not values:
                continue
            if not header:
                header = [name.strip() for name in values]
                if len(set(header)) < len(header):
                    raise BadData(
                        [
                            Problem(
                                "FT-D045",
                                place,
                                1,
                                0,
                                "two columns share a name",
                                "rename one",
                            )
                        ]
                    )
                report.lines -= 1
                continue
            if len(values) != len(header):
                message = f"{len(values)} fields, but the header has {len(header)}"
                report.reject_line(
                    Problem(
                        "FT-D040",
                        place,
                        reader.line_num,
                        0,
                        message,
                        "quote fields with commas",
                    )
                )
                continue
            yield reader.line_num, dict(zip(header, values, strict=True))
    except csv.Error as error:
        message = f"malformed CSV: {error}"
        report.reject_file(
            Problem(
                "FT-D040",
                place,
                reader.line_num,
                0,
                message,
                "quote the field, double its quotes",
            )
        )


def parquet_rows(
    chunks: Iterator[bytes], place: str, report: ReadReport, limits: ReadLimits
) -> Iterator[tuple[int, dict[str, object]]]:
    """(row number from 1, row) of a Parquet file; rows have no lines, and null columns are absent.

    Raises:
        BadData: FT-D064, the file is damaged.
    """
    with tempfile.TemporaryFile() as file:
        for chunk in chunks:
            file.write(chunk)
        file.seek(0)
        try:
            yield from _parquet_batches(file, report)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:120]
            message = f"damaged Parquet file ({reason})"
            raise BadData(
                [Problem("FT-D064", place, 0, 0, message, "fetch the file again")]
            ) from error


def _parquet_batches(
    file: IO[bytes], report: ReadReport
) -> Iterator[tuple[int, dict[str, object]]]:
    number = 0
    for batch in pq.ParquetFile(file).iter_batches(ROWS_PER_BATCH):
        for row in batch.to_pylist():
            number += 1
            report.lines += 1
            yield number, row


def _lines(blocks: Iterator[TextBlock]) -> Iterator[str]:
    for block in blocks:
        lines = block.text.split("\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            yield f"{line}\n"
