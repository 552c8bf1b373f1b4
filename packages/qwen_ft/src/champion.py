"""The version in production, as the gate meets it: its scores on this run's hold-out documents."""

import json
import logging
from dataclasses import replace
from pathlib import Path

from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.token_shards import open_split
from packages.cloud.src.object_store import ObjectStore, open_store
from packages.model_registry.src.layout import PRODUCTION
from packages.model_registry.src.read import ResolvedVersion, fetch_resolved, resolve
from packages.model_registry.src.refusals import AliasMissing
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.gate import Champion, champion_from
from packages.qwen_ft.src.run_store import local_cache, open_run_store

log = logging.getLogger(__name__)

SCORES_FILE = "evaluation.json"


def production_champion(
    config: RunConfig, base: BaseModelPin, tokens: TokenManifest
) -> Champion | None:
    """The scores of the version in production; None where there is none yet.

    Its stored scores are used if they cover this run's hold-out documents. For other documents, on
    the same base model, tokenizer and template, its adapter is scored on them here and now.

    Raises:
        UserError: the registry cannot be read, or the version in it is damaged.
    """
    registry = open_store(config.registry.uri)
    try:
        version = resolve(registry, config.registry.name, PRODUCTION)
    except AliasMissing:
        return None
    folder = fetch_resolved(registry, version, local_cache())
    champion = champion_from(version.version, json.loads((folder / SCORES_FILE).read_text()))
    run_store = open_run_store()
    keys = _hold_out_keys(run_store, tokens)
    if set(keys) <= set(champion.document_keys) or not _same_base(version, base, tokens):
        return champion
    log.info(
        "%s was measured on other documents; scoring it on this run's hold-out", version.version
    )
    return _rescored(champion, config, base, tokens, folder, run_store)


def _hold_out_keys(store: ObjectStore, tokens: TokenManifest) -> tuple[str, ...]:
    documents = open_split(store, tokens.hold_out, local_cache())
    return tuple(documents.key(i) for i in range(len(documents)))


def _same_base(version: ResolvedVersion, base: BaseModelPin, tokens: TokenManifest) -> bool:
    return version.manifest.lineage.base_identity == (
        base.name,
        base.revision,
        tokens.tokenizer_sha256,
        tokens.template_sha256,
    )


def _rescored(
    champion: Champion,
    config: RunConfig,
    base: BaseModelPin,
    tokens: TokenManifest,
    folder: Path,
    store: ObjectStore,
) -> Champion:
    """`champion` with scores of the adapter in `folder` on the hold-out documents of `tokens`."""
    from packages.qwen_ft.src.document_nll import score_documents
    from packages.qwen_ft.src.evaluate import load_tuned

    documents = open_split(store, tokens.hold_out, local_cache())
    settings = config.evaluation
    model, _ = load_tuned(config, base, folder)
    scores = score_documents(
        model,
        documents,
        batch_size=settings.batch_size,
        window_tokens=settings.window_tokens,
        stride_tokens=settings.stride_tokens,
    )
    return replace(
        champion,
        document_keys=tuple(documents.key(i) for i in range(len(documents))),
        nll_by_document=scores.nats,
        tokens_by_document=scores.tokens,
        window_tokens=settings.window_tokens,
        stride_tokens=settings.stride_tokens,
    )
