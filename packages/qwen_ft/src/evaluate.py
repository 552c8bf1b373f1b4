"""Base and tuned model on the same hold-out documents, from stored files alone."""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.token_shards import open_split
from packages.cloud.src.exit_codes import EX_DATAERR, UserError
from packages.cloud.src.object_store import open_store
from packages.qwen_ft.src.adapter import load_adapter
from packages.qwen_ft.src.adapter_files import WEIGHTS_FILE, fetch_adapter
from packages.qwen_ft.src.base_model import (
    BaseModelPin,
    load_base_model,
    load_tokenizer,
)
from packages.qwen_ft.src.document_nll import DocumentScores, score_documents
from packages.qwen_ft.src.document_rows import TokenRow
from packages.qwen_ft.src.evaluation_report import EvaluationReport, ModelScore, Sample
from packages.qwen_ft.src.recipe import FAST, prepare_base
from packages.qwen_ft.src.sample import (
    answer_prompts,
    prompt_of_document,
    prompt_of_text,
)
from packages.qwen_ft.src.trained_adapter import TrainedAdapter

if TYPE_CHECKING:
    from peft import PeftModel

    from packages.qwen_ft.src.config import EvaluationSettings, RunConfig

log = logging.getLogger(__name__)


def compare_perplexity(
    config: "RunConfig",
    base: BaseModelPin,
    adapter: TrainedAdapter,
    tokens: TokenManifest,
    store_uri: str,
) -> EvaluationReport:
    """Exact perplexity, bits per byte and NLL per document of base and tuned model, and samples.

    The base is the same model in memory with its adapter switched off. On the CPU all numbers that
    are not 4-bit are float32, so the result does not depend on `evaluation.batch_size` (1e-5
    relative); on a GPU the number format of training is kept and logits are float32.

    Raises:
        UserError: files missing (66) or damaged (65), no token to score in the hold-out split (65).
    """
    config = config.with_trial(dict(adapter.trial))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="qwen_ft-") as scratch:
        documents = open_split(
            open_store(store_uri), tokens.hold_out, Path(scratch) / "tokens"
        )
        folder = fetch_adapter(adapter, Path(scratch) / "adapter")
        adapted, precision = load_tuned(config, base, folder)
        started = time.perf_counter()
        tuned, untuned = score_both(adapted, documents, config.evaluation)
        runtime_s = time.perf_counter() - started
        samples = _samples(config, base, adapted, documents)
        keys = tuple(documents.key(i) for i in range(len(documents)))
        scored_bytes = sum(
            int(documents[i].scored_bytes) for i in range(len(documents))
        )
    weights = next(file for file in adapter.files if file.name == WEIGHTS_FILE)
    report = EvaluationReport(
        base=model_score(untuned, scored_bytes),
        tuned=model_score(tuned, scored_bytes),
        document_keys=keys,
        tokens_by_document=tuned.tokens,
        scored_tokens=sum(tuned.tokens),
        scored_bytes=scored_bytes,
        runtime_s=runtime_s,
        window_tokens=config.evaluation.window_tokens,
        stride_tokens=config.evaluation.stride_tokens,
        precision=precision,
        data_sha256=tokens.data_sha256,
        adapter_sha256=weights.sha256,
        samples=samples,
    )
    log.info(
        "hold-out perplexity over %s tokens of %d documents: base %.4f, tuned %.4f (%.1f s)",
        f"{report.scored_tokens:,}",
        len(keys),
        report.base.perplexity,
        report.tuned.perplexity,
        runtime_s,
    )
    return report


def load_tuned(
    config: "RunConfig", base: BaseModelPin, folder: Path
) -> tuple["PeftModel", str]:
    """The base with the trained adapter of `folder`, ready to be scored, and its precision."""
    loaded = load_base_model(base, config.model, config.quantization, training=False)
    prepare_base(
        loaded.model, FAST, attn_implementation=config.model.attn_implementation
    )
    return load_adapter(loaded.model, folder, base.name), loaded.precision


def score_both(
    adapted: "PeftModel", documents: Sequence[TokenRow], settings: "EvaluationSettings"
) -> tuple[DocumentScores, DocumentScores]:
    """(tuned, base) scores of each document.

    Raises:
        UserError: nothing in the split is scored (65).
    """
    scoring: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "window_tokens": settings.window_tokens,
        "stride_tokens": settings.stride_tokens,
    }
    tuned = score_documents(adapted, documents, **scoring)
    if sum(tuned.tokens) == 0:
        raise UserError(
            f"The hold-out split has {len(documents)} documents and not one scored token, so "
            "nothing can be compared. Give more data, or raise data.hold_out_share.",
            EX_DATAERR,
        )
    with adapted.disable_adapter():
        base = score_documents(adapted, documents, **scoring)
    return tuned, base


def model_score(scores: DocumentScores, scored_bytes: int) -> ModelScore:
    """The four numbers of one model."""
    return ModelScore(
        perplexity=scores.perplexity,
        bits_per_byte=scores.bits_per_byte(scored_bytes),
        loss=math.fsum(scores.nats) / sum(scores.tokens),
        nll_by_document=scores.nats,
    )


def _samples(
    config: "RunConfig",
    base: BaseModelPin,
    adapted: "PeftModel",
    documents: Sequence[TokenRow],
) -> tuple[Sample, ...]:
    settings = config.evaluation
    tokenizer = load_tokenizer(base, config.model.trust_remote_code)
    shown = min(settings.sample_documents, len(documents))
    spread = [
        i * len(documents) // shown for i in range(shown)
    ]  # neighbours are much alike
    prompts = [prompt_of_document(documents[i]) for i in spread]
    prompts += [
        prompt_of_text(tokenizer, text, config.data.system_message)
        for text in settings.sample_prompts
    ]
    return answer_prompts(
        adapted,
        tokenizer,
        prompts,
        max_tokens=settings.sample_tokens,
        temperature=settings.sample_temperature,
        seed=config.training.seed,
    )
