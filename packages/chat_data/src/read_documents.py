"""A pinned source to documents: every byte verified, every row accepted, counted or refused with its place."""

import logging
from collections.abc import Iterator

from packages.chat_data.src.byte_chunks import expanded, verified
from packages.chat_data.src.clean_text import TextProblem, TextRules
from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.json_array import json_file_rows
from packages.chat_data.src.json_rows import json_rows
from packages.chat_data.src.limits import DEFAULT_PASSAGE_CHARACTERS, ReadOptions
from packages.chat_data.src.passages import passages
from packages.chat_data.src.pins import PinnedObject, PinnedSource, file_type
from packages.chat_data.src.problems import BadData, Problem, ReadReport
from packages.chat_data.src.row_formats import (
    Row,
    RowFormat,
    RowProblem,
    detect_format,
    ignored_keys,
    named_format,
    row_document,
)
from packages.chat_data.src.sources import object_chunks, object_place
from packages.chat_data.src.starter_corpus import starter_documents
from packages.chat_data.src.text_blocks import text_blocks

log = logging.getLogger(__name__)

MAX_LOST_SHARE = 0.01


def read_documents(
    source: PinnedSource,
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """The documents of a source in a fixed order, in flat memory.

    Args:
        report: filled while reading. Its `quarantine` decides whether a bad row stops the run.

    Raises:
        BadData: rows or files cannot be used: up to 20 problems, each with file, line, column and remedy.
            With the policy "fail", no document follows the first problem.
    """
    options, report = options or ReadOptions(), report or ReadReport()
    reader = _SourceReader(source, options, report)
    for document in reader.documents():
        if report.stopping:
            continue
        report.documents += 1
        report.characters += document.characters
        yield document
    reader.finish()


class _SourceReader:
    """One pass over the objects of a source; knows which row format was decided on."""

    def __init__(
        self, source: PinnedSource, options: ReadOptions, report: ReadReport
    ) -> None:
        self._source, self._options, self._report = source, options, report
        self._rules = TextRules(options)
        self._format = (
            None if options.format == "auto" else named_format(options.format)
        )
        self._other_formats: list[Problem] = []
        self._empty: list[Problem] = []

    def documents(self) -> Iterator[Document]:
        if self._source.kind == "starter":
            for document in starter_documents():
                self._report.lines += 1
                yield document
            self._report.format_reason = "the starter corpus gives conversations"
            return
        for pinned in self._source.objects:
            yield from self._whole_object(pinned)
            if self._report.full:
                return

    def _whole_object(self, pinned: PinnedObject) -> Iterator[Document]:
        report, place = self._report, object_place(self._source, pinned)
        lines, refused, found = report.accepted, report.rejected, 0
        try:
            for document in self._object_documents(pinned, place):
                found += 1
                yield document
        except BadData as error:
            if file_type(pinned.key)[0] != "text":
                # Lines behind the place where a file of rows had to be given up were counted, but never read.
                report.lines -= report.accepted - lines - found
            for problem in error.problems:
                report.reject_file(problem)
        if not found and report.rejected == refused:
            code, what = (
                ("FT-D002", "no text after trimming")
                if pinned.size_bytes
                else ("FT-D001", "empty file")
            )
            self._empty.append(
                Problem(code, place, 0, 0, what, "put text into it, or leave it out")
            )

    def finish(self) -> None:
        report = self._report
        if self._other_formats:
            counts = ", ".join(
                f"{name} {count:,}" for name, count in report.formats.most_common()
            )
            first = self._other_formats[0]
            message = f"rows of different formats: {counts}; this is the first {first.message} row"
            remedy = "keep one format, or set data.format"
            report.problems.insert(
                0, Problem("FT-D050", first.place, first.line, 0, message, remedy)
            )
        lost = report.notices["N104"]
        if lost > MAX_LOST_SHARE * report.characters:
            message = f"{lost:,} of {report.characters:,} characters are U+FFFD: an earlier program lost them"
            remedy = "export the data again as UTF-8"
            report.reject_file(
                Problem("FT-D018", self._source.uri, 0, 0, message, remedy)
            )
        if self._empty:
            report.notices["N111"] += len(self._empty)
            if not report.documents and not report.rejected:
                raise BadData(self._empty[:20], len(self._empty))
        report.raise_if_bad()

    def _object_documents(self, pinned: PinnedObject, place: str) -> Iterator[Document]:
        limits = self._options.limits
        kind, compression = file_type(pinned.key)
        stored = object_chunks(self._source, pinned)
        if not pinned.sha256.startswith("git-sha1:"):
            stored = verified(stored, place, pinned.size_bytes, pinned.sha256)
        chunks = expanded(stored, place, compression, limits)
        if kind == "parquet":
            from packages.chat_data.src.table_rows import parquet_rows

            yield from self._row_documents(
                parquet_rows(chunks, place, self._report, limits), pinned.key, place
            )
            return
        rules = self._rules if kind == "text" else None
        blocks = text_blocks(chunks, place, self._report, limits.line_bytes, rules)
        if kind == "text":
            self._explain("text", f"{pinned.key} is a plain-text file")
            longest = self._options.passage_characters or DEFAULT_PASSAGE_CHARACTERS
            yield from passages(blocks, pinned.key, longest)
            return
        if kind in ("csv", "tsv"):
            from packages.chat_data.src.table_rows import csv_rows

            rows = csv_rows(
                blocks, place, self._report, limits, "\t" if kind == "tsv" else ","
            )
        elif kind == "json":
            rows = json_file_rows(blocks, place, self._report, limits)
        else:
            rows = json_rows(blocks, place, self._report, limits)
        yield from self._row_documents(rows, pinned.key, place)

    def _row_documents(
        self, rows: Iterator[tuple[int, Row]], key: str, place: str
    ) -> Iterator[Document]:
        for number, row in rows:
            try:
                row_format = self._format_of(row, place, number)
                if row_format is None:
                    continue
                document = row_document(
                    row,
                    row_format,
                    f"{key}:{number}",
                    merge_turns=self._options.merge_turns,
                )
                document = self._clean(document)
            except RowProblem as error:
                problem = Problem(
                    error.code, place, number, 0, error.message, error.remedy
                )
                self._report.reject_line(problem)
                if self._report.full:
                    return
                continue
            self._report.notices["N110"] += ignored_keys(row, row_format)
            yield document
            if self._report.lines > self._options.limits.rows:
                raise BadData(
                    [
                        Problem(
                            "FT-D073",
                            place,
                            number,
                            0,
                            "more rows than allowed",
                            "split the source",
                        )
                    ]
                )

    def _format_of(self, row: Row, place: str, number: int) -> RowFormat | None:
        """The format to read this row in; None if it has another one, which is then counted."""
        if self._format is not None and self._format.fits(row):
            self._report.formats[self._format.name] += 1
            return self._format
        found = detect_format(row)
        if self._format is None:
            if found is None:
                # Which field is missing is said against the format people mean most often.
                return named_format("messages" if "role" in row else "text")
            self._format = found
            fields = ", ".join(names[0] for names in found.required)
            self._explain(found.name, f"the first row ({place}:{number}) has {fields}")
            self._report.formats[found.name] += 1
            return found
        if found is None or self._options.format != "auto":
            return self._format
        self._report.formats[found.name] += 1
        self._other_formats.append(Problem("FT-D050", place, number, 0, found.name, ""))
        del self._other_formats[1:]
        self._report.rejected += 1
        self._report.reasons["FT-D050"] += 1
        return None

    def _clean(self, document: Document) -> Document:
        if document.text:
            text = self._clean_value(document.text)
            return (
                document
                if text is document.text
                else Document((), text, document.where)
            )
        changed = False
        turns = []
        for turn in document.messages:
            content = self._clean_value(turn.content)
            changed |= content is not turn.content
            turns.append(Message(turn.role, content))
        return Document(tuple(turns), "", document.where) if changed else document

    def _clean_value(self, text: str) -> str:
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            message = f"half of a surrogate pair (\\u{ord(text[error.start]):04x}) in a string"
            raise RowProblem(
                "D047", message, "write both halves, or the character itself"
            ) from error
        if not self._rules.needs_cleaning(text, data):
            return text
        cleaned = self._rules.clean(text, self._report.count_notice)
        if isinstance(cleaned, TextProblem):
            raise RowProblem(
                cleaned.code.removeprefix("FT-"), cleaned.message, cleaned.remedy
            )
        return cleaned

    def _explain(self, name: str, reason: str) -> None:
        if not self._report.format_reason:
            self._report.format_reason = f"read as {name}: {reason}"
            log.info("data %s", self._report.format_reason)
