"""Settings of the data section as chat_data's options."""

from packages.qwen_ft.src.config import resolve
from packages.qwen_ft.src.dataset import build_split_options, build_tokenize_options


def test_every_data_setting_reaches_the_tokenizer():
    config = resolve(
        {},
        [
            "data.max_tokens=64",
            "data.over_length=drop",
            "data.train_on_prompt=true",
            "data.system_message=Be brief.",
            "data.format=alpaca",
            "data.on_bad_row=quarantine",
            "data.control_tokens=escape",
        ],
    )

    options = build_tokenize_options(config.data)

    assert (options.max_tokens, options.over_length, options.train_on_prompt) == (
        64,
        "drop",
        True,
    )
    assert options.system_message == "Be brief."
    assert (options.read.format, options.read.on_bad_row) == ("alpaca", "quarantine")
    assert (
        options.read.escape_control_tokens
        and options.quarantine_path == "rejected.jsonl"
    )


def test_one_optimizer_step_needs_its_documents():
    config = resolve(
        {},
        [
            "training.per_device_train_batch_size=4",
            "training.gradient_accumulation_steps=3",
        ],
    )

    assert build_split_options(config).min_train_documents == 12
