"""Data sets of the Hugging Face hub as a source: one commit, named by its 40-hex hash, read file by file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packages.chat_data.src.byte_chunks import CHUNK_BYTES
from packages.chat_data.src.limits import ReadLimits
from packages.chat_data.src.pins import PinnedObject, PinnedSource, choose_keys
from packages.chat_data.src.problems import BadData, Problem, shown
from packages.cloud.src.exit_codes import (
    EX_NOINPUT,
    EX_NOPERM,
    EX_UNAVAILABLE,
    EX_USAGE,
    UserError,
)

TIMEOUT_S = 10.0
_ADDRESS = re.compile(r"(?:hf://(?:datasets/)?)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def pin_hub(uri: str, limits: ReadLimits, api: Any = None) -> PinnedSource:
    """The training files of a data set at one commit.

    Where file names tell splits apart, only those of "train" are read.

    Args:
        uri: "org/name", "org/name@revision" or "hf://datasets/org/name@revision".
        api: a `huggingface_hub.HfApi`; made if not given.

    Raises:
        UserError: no such data set (66), gated or private (77), no network or hub down (69).
        BadData: FT-D072, a file over the limits.
    """
    found = _ADDRESS.fullmatch(uri)
    if found is None:
        raise UserError(
            f"{shown(uri)} is no hub data set. Write org/name or org/name@revision.",
            EX_USAGE,
        )
    name, revision = found.groups()
    info = _dataset_info(api, name, revision, uri)
    files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    chosen, note = choose_keys(list(files))
    training = [key for key in chosen if "train" in key.lower()]
    if training and len(training) < len(chosen):
        note = "; ".join(
            filter(
                None,
                (note, f"{len(chosen) - len(training)} files of other splits left out"),
            )
        )
        chosen = training
    if not chosen:
        raise UserError(
            f"The hub data set {name} holds no file that can be read: only scripts or media. Name another data set, "
            "or export it as JSONL or Parquet.",
            EX_NOINPUT,
        )
    objects = tuple(
        _pinned(files[key], f"hf://datasets/{name}/{key}", limits) for key in chosen
    )
    return PinnedSource(
        uri, "hub", info.sha, objects, note, root=f"hf://datasets/{name}@{info.sha}"
    )


def hub_chunks(source: PinnedSource, pinned: PinnedObject) -> Iterator[bytes]:
    """The bytes of one file at the pinned commit, through the hub's own cache.

    Raises:
        UserError: as `pin_hub`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    name = source.root.removeprefix("hf://datasets/").partition("@")[0]
    try:
        # Asked first, since the download alone tries for 23 s before it gives up on a missing network.
        _dataset_info(None, name, source.revision, source.uri)
        path = hf_hub_download(
            name,
            pinned.key,
            repo_type="dataset",
            revision=source.revision,
            etag_timeout=TIMEOUT_S,
        )
    except (HTTPError, OSError, ValueError) as error:
        raise _explained(error, name, source.uri) from error
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _dataset_info(api: Any, name: str, revision: str | None, uri: str) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        return (api or HfApi()).dataset_info(
            name, revision=revision, files_metadata=True, timeout=TIMEOUT_S
        )
    except (HTTPError, OSError, ValueError) as error:
        raise _explained(error, name, uri) from error


def _pinned(sibling: Any, place: str, limits: ReadLimits) -> PinnedObject:
    size = int(sibling.size or 0)
    if size > limits.file_bytes:
        message = f"the file has {size:,} bytes, more than {limits.file_bytes:,}"
        raise BadData([Problem("FT-D072", place, 0, 0, message, "split it")])
    sha256 = sibling.lfs.sha256 if sibling.lfs else f"git-sha1:{sibling.blob_id}"
    return PinnedObject(sibling.rfilename, size, sha256, etag=str(sibling.blob_id))


def _explained(error: Exception, name: str, uri: str) -> UserError:
    """The user's view of what the hub client raised."""
    from huggingface_hub import errors

    here = f"No file or folder {shown(uri)} exists in {Path.cwd()} either."
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"The hub data set {name} is gated. Accept its terms on its page, then set HF_TOKEN.",
            EX_NOPERM,
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(
            f"The hub data set {name} has no revision as in {shown(uri)}. Use a branch, a tag or a commit of it.",
            EX_NOINPUT,
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return UserError(
            f"The hub has no data set {name}, or it is private. {here} Correct data.source, or set HF_TOKEN.",
            EX_NOINPUT,
        )
    reason = shown(
        str(error).splitlines()[0] if str(error) else type(error).__name__, 120
    )
    return UserError(
        f"The hub cannot be reached for the data set {name} ({reason}). {here} Check the network, or name a local "
        "file, s3://bucket/prefix or starter://python-docs.",
        EX_UNAVAILABLE,
    )
