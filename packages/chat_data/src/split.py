"""Documents to train, validation and hold-out: by content, so that equal documents never part and order never matters."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packages.chat_data.src.document import Document, document_key
from packages.chat_data.src.problems import BadData, Problem

TRAIN, VALIDATION, HOLD_OUT, DUPLICATE, LEFT_OUT = range(5)
KEY_BYTES = 16
Keys = npt.NDArray[np.uint8]
Sides = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SplitOptions:
    """How documents are divided.

    Args:
        validation_share: of all distinct documents; scored while training.
        hold_out_share: of all distinct documents; read by the evaluation only.
        seed: another seed gives other sides.
        max_documents: keep a random sample of this many; None keeps all.
        min_train_documents: fewer is FT-D090, e.g. the documents of one batch.
        max_duplicate_share: more duplicates than this is FT-D093.
    """

    validation_share: float = 0.05
    hold_out_share: float = 0.05
    seed: int = 0
    max_documents: int | None = None
    min_train_documents: int = 1
    max_duplicate_share: float = 0.9


@dataclass(frozen=True)
class SplitDocuments:
    """The three sides, each in source order. The second and later of equal documents are dropped."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    hold_out: tuple[Document, ...]
    duplicates_dropped: int


def split_documents(
    documents: Iterable[Document],
    validation_share: float,
    hold_out_share: float,
    seed: int,
) -> SplitDocuments:
    """Divide documents that fit in memory. See `assign_sides`.

    Raises:
        BadData: FT-D090 no training document, FT-D091 an empty side, FT-D093 nearly all are duplicates.
    """
    held = list(documents)
    keys = np.frombuffer(
        b"".join(split_key(document) for document in held), np.uint8
    ).reshape(-1, KEY_BYTES)
    sides = assign_sides(keys, SplitOptions(validation_share, hold_out_share, seed))

    def on(side: int) -> tuple[Document, ...]:
        return tuple(held[i] for i in np.flatnonzero(sides == side))

    return SplitDocuments(
        on(TRAIN),
        on(VALIDATION),
        on(HOLD_OUT),
        int(np.count_nonzero(sides == DUPLICATE)),
    )


def split_key(document: Document) -> bytes:
    """The first 16 bytes of `document_key`."""
    return bytes.fromhex(document_key(document))[:KEY_BYTES]


def assign_sides(keys: Keys, options: SplitOptions, place: str = "the source") -> Sides:
    """The side of each document.

    A document's rank is a seeded hash of its content alone. The lowest ranks are held out, the next validate: a larger
    validation share leaves the hold-out as it was.

    Args:
        keys: (documents, 16), uint8.
        place: for messages.

    Returns:
        (documents,), uint8: TRAIN, VALIDATION, HOLD_OUT, DUPLICATE or LEFT_OUT.

    Raises:
        BadData: FT-D090 too few documents, FT-D091 an empty side, FT-D093 nearly all are duplicates.
    """
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)
    ranks = _mixed(
        words[:, 0] ^ _mixed(np.array([options.seed & (2**64 - 1)], np.uint64))
    )
    # Stable: of equal documents the first of the source comes first.
    order = np.lexsort((words[:, 1], words[:, 0], ranks))
    ordered = words[order]
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    distinct = order[~repeated]
    _refuse_repetition(len(order), len(distinct), options, place)
    if options.max_documents is not None:
        kept, distinct_left = (
            distinct[: options.max_documents],
            distinct[options.max_documents :],
        )
    else:
        kept, distinct_left = distinct, distinct[:0]
    hold_out, validation = (
        _portion(share, len(kept))
        for share in (options.hold_out_share, options.validation_share)
    )
    _refuse_empty_sides(len(kept), validation, hold_out, options, place)
    sides = np.full(len(order), TRAIN, np.uint8)
    sides[order[repeated]] = DUPLICATE
    sides[distinct_left] = LEFT_OUT
    sides[kept[:hold_out]] = HOLD_OUT
    sides[kept[hold_out : hold_out + validation]] = VALIDATION
    return sides


def _portion(share: float, documents: int) -> int:
    return int(share * documents + 0.5)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # The finalizer of splitmix64 (Steele, Lea, Flood 2014): the same on every machine, unlike a library's generator.
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _refuse_repetition(
    documents: int, distinct: int, options: SplitOptions, place: str
) -> None:
    if documents > 1 and documents - distinct > options.max_duplicate_share * documents:
        message = f"{documents - distinct:,} of {documents:,} documents are duplicates"
        raise BadData(
            [
                Problem(
                    "FT-D093", place, 0, 0, message, "look at how the data was exported"
                )
            ]
        )


def _refuse_empty_sides(
    documents: int, validation: int, hold_out: int, options: SplitOptions, place: str
) -> None:
    for name, count, share in (
        ("validation", validation, options.validation_share),
        ("hold_out", hold_out, options.hold_out_share),
    ):
        if count == 0:
            message = f"the {name} split is empty: {share:g} of {documents:,} documents; its perplexity is undefined"
            raise BadData(
                [
                    Problem(
                        "FT-D091",
                        place,
                        0,
                        0,
                        message,
                        f"raise data.{name}_share, or add data",
                    )
                ]
            )
    train = documents - validation - hold_out
    if train < max(1, options.min_train_documents):
        message = f"{train:,} training documents, fewer than one batch of {options.min_train_documents:,}"
        raise BadData(
            [
                Problem(
                    "FT-D090",
                    place,
                    0,
                    0,
                    message,
                    "add data, or make the batch smaller",
                )
            ]
        )
