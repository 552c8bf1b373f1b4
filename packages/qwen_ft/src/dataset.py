"""2. The training, validation and hold-out documents of a run, tokenized once and kept as shards."""

import logging

from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.pins import PinnedSource
from packages.chat_data.src.split import SplitOptions
from packages.chat_data.src.token_manifest import TokenManifest
from packages.chat_data.src.tokenize_source import TokenizeOptions, tokenize_source
from packages.qwen_ft.src.base_model import BaseModelPin, load_tokenizer
from packages.qwen_ft.src.config import DataSettings, RunConfig
from packages.qwen_ft.src.config_checks import check_against_data
from packages.qwen_ft.src.logs import set_up_logging
from packages.qwen_ft.src.run_store import local_cache, open_run_store

log = logging.getLogger(__name__)


def prepare_tokens(
    config: RunConfig, base: BaseModelPin, source: PinnedSource
) -> TokenManifest:
    """The token shards of `source` in the run's store; nothing is done if they are there already.

    Raises:
        UserError: data that cannot be used (65), or too little of it for the settings (65, 78).
    """
    set_up_logging(config.logging)
    tokens = tokenize_source(
        source,
        load_tokenizer(base, config.model.trust_remote_code),
        options=build_tokenize_options(config.data),
        split=build_split_options(config),
        store=open_run_store(),
        cache_dir=local_cache(),
    )
    check_against_data(config, tokens.train.documents, tokens.hold_out.documents)
    log.info(
        "%d documents (%d duplicates dropped); rows: %d train, %d validation, %d hold-out; "
        "%s tokens, %s of them scored",
        tokens.documents,
        tokens.duplicates_dropped,
        tokens.train.documents,
        tokens.validation.documents,
        tokens.hold_out.documents,
        f"{tokens.train.tokens + tokens.validation.tokens + tokens.hold_out.tokens:,}",
        f"{tokens.train.scored_tokens + tokens.validation.scored_tokens + tokens.hold_out.scored_tokens:,}",
    )
    return tokens


def build_tokenize_options(data: DataSettings) -> TokenizeOptions:
    """The options of chat_data for these settings."""
    return TokenizeOptions(
        max_tokens=data.max_tokens,
        over_length=data.over_length,
        train_on_prompt=data.train_on_prompt,
        system_message=data.system_message,
        read=ReadOptions(
            format=data.format,
            on_bad_row=data.on_bad_row,
            escape_control_tokens=data.control_tokens == "escape",
        ),
        quarantine_path="rejected.jsonl" if data.on_bad_row == "quarantine" else None,
    )


def build_split_options(config: RunConfig) -> SplitOptions:
    """The split of chat_data for these settings; fewer documents than one optimizer step are refused."""
    data, training = config.data, config.training
    return SplitOptions(
        validation_share=data.validation_share,
        hold_out_share=data.hold_out_share,
        seed=data.split_seed,
        max_documents=data.max_documents,
        min_train_documents=training.per_device_train_batch_size
        * training.gradient_accumulation_steps,
    )
