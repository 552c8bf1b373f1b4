"""The version in production, as the gate meets it: its scores on this run's hold-out documents.

`start`, which may read the registry, pins it: its stored scores, and its files as blobs of the run's
store. `evaluate`, which may run on another machine with no right to the registry, reads those alone.
"""

import json
import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.token_shards import open_split
from packages.cloud.src.object_store import fetch_blob, open_store, put_blob
from packages.model_registry.src.layout import PRODUCTION
from packages.model_registry.src.read import fetch_resolved, resolve
from packages.model_registry.src.refusals import AliasMissing
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.config import RegistrySettings, RunConfig
from packages.qwen_ft.src.gate import Champion, champion_from
from packages.qwen_ft.src.run_store import local_cache, open_run_store
from packages.qwen_ft.src.trained_adapter import StoredFile

log = logging.getLogger(__name__)

SCORES_FILE = "evaluation.json"


@dataclass(frozen=True)
class PinnedChampion:
    """The version in production when the run started.

    Args:
        champion: its version and the scores that were stored with it.
        base_identity: base model, revision, tokenizer and template hash that it belongs to.
        files: its files, as blobs of the run's store.
    """

    champion: Champion
    base_identity: tuple[str, ...]
    files: tuple[StoredFile, ...]


def pin_champion(settings: RegistrySettings) -> PinnedChampion | None:
    """The version in production, every byte verified; None where there is none yet.

    Raises:
        UserError: the registry cannot be read, or the version in it is damaged.
    """
    registry = open_store(settings.uri)
    try:
        version = resolve(registry, settings.name, PRODUCTION)
    except AliasMissing:
        return None
    folder = fetch_resolved(registry, version, local_cache())
    scores = json.loads((folder / SCORES_FILE).read_text())
    store = open_run_store()
    files = tuple(
        StoredFile(file.path, file.size_bytes, put_blob(store, folder / file.path))
        for file in version.manifest.files
    )
    log.info("in production: %s %s", settings.name, version.version)
    return PinnedChampion(
        champion_from(version.version, scores),
        version.manifest.lineage.base_identity,
        files,
    )


def champion_on_hold_out(
    pinned: PinnedChampion | None,
    config: RunConfig,
    base: BaseModelPin,
    tokens: TokenManifest,
) -> Champion | None:
    """The champion with scores that the gate can compare.

    Its stored scores are used if they cover this run's hold-out documents. For other documents, on
    the same base model, tokenizer and template, its adapter is scored on them here and now.
    """
    if pinned is None:
        return None
    documents = open_split(open_run_store(), tokens.hold_out, local_cache())
    keys = {documents.key(i) for i in range(len(documents))}
    identity = (
        base.name,
        base.revision,
        tokens.tokenizer_sha256,
        tokens.template_sha256,
    )
    if keys <= set(pinned.champion.document_keys) or pinned.base_identity != identity:
        return pinned.champion
    log.info(
        "%s was measured on other documents; scoring it on this run's hold-out",
        pinned.champion.version,
    )
    return _rescored(pinned, config, base, tokens)


def _rescored(
    pinned: PinnedChampion, config: RunConfig, base: BaseModelPin, tokens: TokenManifest
) -> Champion:
    """The champion with scores of its own adapter on the hold-out documents of `tokens`."""
    from packages.qwen_ft.src.document_nll import score_documents
    from packages.qwen_ft.src.evaluate import load_tuned

    store, settings = open_run_store(), config.evaluation
    documents = open_split(store, tokens.hold_out, local_cache())
    with tempfile.TemporaryDirectory(prefix="qwen_ft-") as scratch:
        folder = Path(scratch)
        for file in pinned.files:
            (folder / file.name).write_bytes(
                fetch_blob(store, file.sha256, local_cache()).read_bytes()
            )
        model, _ = load_tuned(config, base, folder)
    scores = score_documents(
        model,
        documents,
        batch_size=settings.batch_size,
        window_tokens=settings.window_tokens,
        stride_tokens=settings.stride_tokens,
    )
    return replace(
        pinned.champion,
        document_keys=tuple(documents.key(i) for i in range(len(documents))),
        nll_by_document=scores.nats,
        tokens_by_document=scores.tokens,
        window_tokens=settings.window_tokens,
        stride_tokens=settings.stride_tokens,
    )
