"""The tokenize step: a pinned source in, a small manifest of content-addressed token shards out.

The same data, tokenizer, template and options give the same manifest; a second run finds it and does nothing.
"""

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from packages.chat_data.src.document import Document
from packages.chat_data.src.document_table import document_batches, write_documents
from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.pins import PinnedSource
from packages.chat_data.src.problems import BadData, Problem, ReadReport
from packages.chat_data.src.read_documents import read_documents
from packages.chat_data.src.split import (
    DUPLICATE,
    HOLD_OUT,
    KEY_BYTES,
    LEFT_OUT,
    TRAIN,
    VALIDATION,
    Sides,
    SplitOptions,
    assign_sides,
    split_key,
)
from packages.chat_data.src.token_manifest import PreviewRow, TokenManifest
from packages.chat_data.src.token_shards import ShardWriter
from packages.chat_data.src.tokenization import (
    DocumentEncoder,
    TokenizedDocument,
    TokenRules,
    control_tokens,
)
from packages.cloud.src.exit_codes import EX_CANTCREAT, UserError
from packages.cloud.src.object_store import (
    BLOB_FOLDER,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
)

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
PREVIEW_ROWS, PREVIEW_TOKENS = 3, 200
_SPLIT_NAMES = {TRAIN: "train", VALIDATION: "validation", HOLD_OUT: "hold_out"}


@dataclass(frozen=True)
class TokenizeOptions:
    """What the tokens depend on besides source, tokenizer and split.

    Args:
        max_tokens: longest training row.
        over_length: truncate, drop, fail, or chunk into adjoining rows.
        train_on_prompt: learn the whole conversation instead of the assistant's turns.
        system_message: for conversations without a system turn.
        read: how rows are read and checked.
        min_tokens: fewer in all is FT-D090.
        quarantine_path: refused rows go here if `read.on_bad_row` is "quarantine".
    """

    max_tokens: int
    over_length: str = "chunk"
    train_on_prompt: bool = False
    system_message: str | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    min_tokens: int = 1_000
    quarantine_path: str | None = None


def tokenize_source(
    source: PinnedSource,
    tokenizer: Any,
    *,
    options: TokenizeOptions,
    split: SplitOptions,
    store: ObjectStore,
    cache_dir: Path,
) -> TokenManifest:
    """Read, check, deduplicate, split and tokenize a source into shards in `store`.

    Args:
        tokenizer: a fast tokenizer of transformers.
        cache_dir: for temporary files, as large as the expanded source; nothing stays in it.

    Raises:
        BadData: rows, documents or splits that cannot be used; nothing visible was written.
        UserError: the tokenizer does not fit (78), or the disk is full or may not be written (73).
    """
    hashes = _hashes(source, tokenizer, options, split)
    key = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    if stored := _stored_manifest(store, key):
        log.info(
            "tokens unchanged: %d training rows read from the cache",
            stored.train.documents,
        )
        return stored
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="tokenize-", dir=cache_dir) as folder,
            ExitStack() as stack,
        ):
            run = _Tokenization(
                source, tokenizer, options, split, store, Path(folder), stack
            )
            manifest = run.manifest(key, hashes)
            _store_manifest(store, manifest)
            return manifest
    except OSError as error:
        raise UserError(
            f"The tokens cannot be written to {cache_dir} or {store.uri}: {error.strerror or error}. Free space or "
            "choose another folder. Nothing is half-written.",
            EX_CANTCREAT,
        ) from error


class _Tokenization:
    """One run through the stages; holds what they count."""

    def __init__(
        self,
        source: PinnedSource,
        tokenizer: Any,
        options: TokenizeOptions,
        split: SplitOptions,
        store: ObjectStore,
        folder: Path,
        stack: ExitStack,
    ) -> None:
        self._source, self._tokenizer, self._options, self._split = (
            source,
            tokenizer,
            options,
            split,
        )
        self._read = _read_options(options, tokenizer)
        self._report = ReadReport(
            _quarantine(options, folder, stack), options.read.max_bad_fraction
        )
        self._keys = bytearray()
        self._folder = folder
        self._writers = {
            side: stack.enter_context(ShardWriter(store, folder, name))
            for side, name in _SPLIT_NAMES.items()
        }
        self._histogram: Counter[int] = Counter()
        self._preview: list[PreviewRow] = []

    def manifest(self, key: str, hashes: dict[str, str]) -> TokenManifest:
        dataset = write_documents(
            self._keyed_documents(), self._folder / "documents.arrow"
        )
        report = self._report
        log.info("loaded %d documents, %d characters", len(dataset), report.characters)
        keys = np.frombuffer(self._keys, np.uint8).reshape(-1, KEY_BYTES)
        sides = assign_sides(keys, self._split, self._source.uri)
        changes = self._write(document_batches(dataset), sides)
        report.raise_if_bad()
        report.notices["N120"] += changes[self._options.over_length]
        report.notices["N121"] += changes["unscored_windows"]
        splits = {
            name: self._writers[side].finish() for side, name in _SPLIT_NAMES.items()
        }
        tokens = sum(one.tokens for one in splits.values())
        if tokens < self._options.min_tokens:
            message = (
                f"{tokens:,} tokens in all, fewer than {self._options.min_tokens:,}"
            )
            raise BadData(
                [Problem("FT-D090", self._source.uri, 0, 0, message, "add data")]
            )
        return TokenManifest(
            key=key,
            **splits,
            data_sha256=self._source.data_sha256,
            tokenizer_sha256=hashes["tokenizer"],
            template_sha256=hashes["template"],
            options_sha256=hashes["options"],
            format_reason=report.format_reason,
            documents=report.documents,
            characters=report.characters,
            bytes_read=self._source.size_bytes,
            duplicates_dropped=int(np.count_nonzero(sides == DUPLICATE)),
            left_out=int(np.count_nonzero(sides == LEFT_OUT)),
            rejected=tuple(sorted(report.reasons.items())),
            notices=tuple(
                sorted((code, count) for code, count in report.notices.items() if count)
            ),
            over_length=tuple(sorted(changes.items())),
            histogram=tuple(sorted(self._histogram.items())),
            preview=tuple(self._preview),
        )

    def _keyed_documents(self) -> Iterator[Document]:
        for document in read_documents(self._source, self._read, self._report):
            self._keys += split_key(document)
            yield document

    def _write(self, batches: Iterator[list[Document]], sides: Sides) -> Counter[str]:
        options = self._options
        rules = TokenRules(
            options.max_tokens,
            options.over_length,
            options.train_on_prompt,
            options.system_message,
            self._read.escape_control_tokens,
        )
        encoder = DocumentEncoder(self._tokenizer, rules)
        # The tokenizer works without the interpreter's lock: the next batch is encoded while this one is written.
        with ThreadPoolExecutor(1) as background:
            waiting = None
            for chosen in _kept(batches, sides):
                upcoming = background.submit(
                    encoder.encode, [document for document, _ in chosen]
                )
                if waiting is not None:
                    self._add(waiting[0], waiting[1].result())
                waiting = (chosen, upcoming)
                if self._report.full:
                    break
            if waiting is not None:
                self._add(waiting[0], waiting[1].result())
        return encoder.changes

    def _add(
        self,
        chosen: list[tuple[Document, int]],
        results: list[list[TokenizedDocument] | Problem],
    ) -> None:
        for (document, side), rows in zip(chosen, results, strict=True):
            if isinstance(rows, Problem):
                self._report.reject_line(rows)
                continue
            for row in rows:
                self._writers[side].add(row, document.where)
                self._histogram[1 << (len(row.ids) - 1).bit_length()] += 1
                if side == TRAIN and len(self._preview) < PREVIEW_ROWS:
                    self._preview.append(self._preview_row(row, document.where))

    def _preview_row(self, row: TokenizedDocument, where: str) -> PreviewRow:
        ids = row.ids[:PREVIEW_TOKENS].tolist()
        tokens = tuple(self._tokenizer.decode([number]) for number in ids)
        return PreviewRow(where, tokens, tuple(row.scored[:PREVIEW_TOKENS].tolist()))


def _kept(
    batches: Iterator[list[Document]], sides: Sides
) -> Iterator[list[tuple[Document, int]]]:
    start = 0
    for batch in batches:
        here = sides[start : start + len(batch)].tolist()
        start += len(batch)
        yield [
            (document, side)
            for document, side in zip(batch, here, strict=True)
            if side in _SPLIT_NAMES
        ]


def _read_options(options: TokenizeOptions, tokenizer: Any) -> ReadOptions:
    """The reader's options with what this tokenizer and the length of a row decide."""
    passage = options.read.passage_characters or 3 * options.max_tokens
    return replace(
        options.read,
        control_tokens=control_tokens(tokenizer),
        passage_characters=passage,
    )


def _quarantine(
    options: TokenizeOptions, folder: Path, stack: ExitStack
) -> TextIO | None:
    if options.read.on_bad_row != "quarantine":
        return None
    path = (
        Path(options.quarantine_path)
        if options.quarantine_path
        else folder / "rejected.jsonl"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(path.open("w", encoding="utf-8"))


def _hashes(
    source: PinnedSource, tokenizer: Any, options: TokenizeOptions, split: SplitOptions
) -> dict[str, str]:
    values = {
        name: value
        for name, value in asdict(options).items()
        if name != "quarantine_path"
    }
    sides = {
        name: value
        for name, value in asdict(split).items()
        if name != "min_train_documents"
    }
    settings = json.dumps([FORMAT_VERSION, values, sides], sort_keys=True)
    identity = [
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    ]
    return {
        "data": source.data_sha256,
        "tokenizer": _sha256(json.dumps(identity)),
        "template": _sha256(tokenizer.chat_template or ""),
        "options": _sha256(settings),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stored_manifest(store: ObjectStore, key: str) -> TokenManifest | None:
    try:
        manifest = TokenManifest.from_dict(json.loads(store.read(f"tokens/{key}.json")))
    except ObjectMissing:
        return None
    shards = [
        sha
        for side in (manifest.train, manifest.validation, manifest.hold_out)
        for sha in side.shards
    ]
    return (
        manifest
        if all(store.exists(f"{BLOB_FOLDER}/{sha}") for sha in shards)
        else None
    )


def _store_manifest(store: ObjectStore, manifest: TokenManifest) -> None:
    data = json.dumps(manifest.to_dict(), sort_keys=True, ensure_ascii=False).encode()
    try:
        store.create(f"tokens/{manifest.key}.json", data)
    except ObjectExists:
        # Another run with the same key was first; its manifest lists the same shards unless a library changed.
        log.warning(
            "the stored manifest %s differs from this run's; shards were written anew",
            manifest.key,
        )
