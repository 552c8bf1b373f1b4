"""Each wrong setting has its own sentence: what was found, what was expected, what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packages.cloud.src.exit_codes import EX_CONFIG, UserError
from packages.qwen_ft.src.config import RunConfig, read_run_config, resolve
from packages.qwen_ft.src.config_schema import keys_at
from packages.qwen_ft.src.overrides import merge_overrides

# (what is written, its line, its key, what the sentence must say). Every case is a different slip.
WRONG = {
    "H01 unknown key": (
        "training:\n  learning_rte: 1e-4",
        "line 2: training.learning_rte: found the unknown key learning_rte",
        "did you mean learning_rate?",
    ),
    "key of another trainer": (
        "training: {lr: 1e-4}",
        "line 1: training.lr",
        "mean learning_rate",
    ),
    "rank for r": ("lora: {rank: 8}", "line 1: lora.rank", "did you mean r?"),
    "key in the wrong section": (
        "lora:\n  seed: 1",
        "line 2: lora.seed",
        "the key is training.seed",
    ),
    "key without section": (
        "gradient_checkpointing: true",
        "line 1",
        "training.gradient_check",
    ),
    "unknown section": (
        "trainer: {seed: 1}",
        "line 1: trainer",
        "did you mean training?",
    ),
    "key like nothing": ("lora: {zzz: 1}", "lora.zzz", "use one of r, lora_alpha"),
    "H03 yes for true": (
        "quantization: {load_in_4bit: yes}",
        'the text "yes"',
        "write true",
    ),
    "H03 off for false": ("lora: {use_dora: off}", "lora.use_dora", "write false"),
    "1 for true": (
        "lora: {use_rslora: 1}",
        "found 1; expected true or false",
        "write for example",
    ),
    "H03 octal of YAML 1.1": ("lora: {r: 010}", 'the text "010"', "write 10, without"),
    "H03 sexagesimal": (
        "training: {max_steps: 1:30}",
        'the text "1:30"',
        "a whole number from -1",
    ),
    "separator": (
        "training: {max_steps: 1_000}",
        'the text "1_000"',
        "write 1000, without",
    ),
    "number in quotes": (
        'training: {learning_rate: "1e-4"}',
        'the text "1e-4"',
        "write 1e-4",
    ),
    "H04 tab": (
        "lora:\n\tr: 8",
        "line 2: found a tab at column 1",
        "indent with two spaces",
    ),
    "H04 duplicate key": ("lora:\n  r: 8\n  r: 9", "line 3: lora.r", "first on line 2"),
    "duplicate section": (
        "lora: {r: 8}\nlora: {r: 9}",
        "line 2: lora: found the key a",
        "keep one",
    ),
    "H05 python tag": (
        "lora: {r: !!python/object/apply:os.system [true]}",
        "lora.r: found the tag `!!python/object/apply:os.system`",
        "nothing in a configuration is ever executed",
    ),
    "explicit tag": (
        "model: {name: !!binary aGk=}",
        "the tag `!!binary`",
        "remove the tag",
    ),
    "undefined alias": (
        "data: {source: *here}",
        "an undefined alias 'here'",
        "in quotes",
    ),
    "H06 alias bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{n}: &{n} [{', '.join([f'*{p}'] * 10)}]\n"
            for p, n in zip("abcdef", "bcdefg", strict=False)
        ),
        "more than 10,000 values",
        "remove the anchors",
    ),
    "H06 too long": ("#" * 300_000, "a text of 300,000 characters", "and not the data"),
    "nested too deep": ("[" * 5000, "nested too deep", "flatten"),
    "unclosed bracket": ("lora: {r: 8", "line 1", "missing colon, quote or bracket"),
    "two documents": (
        "lora: {r: 8}\n---\nlora: {r: 9}",
        "a second document",
        "split the file",
    ),
    "control character": ("model: {name: a\x00b}", "a control character", "as UTF-8"),
    "list as key": ("? [a, b]\n: 1", "a list or mapping as a key", "one key a line"),
    "empty": ("", "found no settings at all", "write for example `model:`"),
    "only comments": ("# later\n", "no settings at all", "at least one section"),
    "a list": ("- lora", "found a list of 1", "at least one section"),
    "a word that is no preset": (
        "starterr",
        'the text "starterr"; expected sections such as',
        "did you mean starter?",
    ),
    "section is a number": (
        "lora: 5",
        "line 1: lora: found 5",
        "the keys r, lora_alpha",
    ),
    "H07 zero learning rate": (
        "training: {learning_rate: 0}",
        "found 0",
        "above 0 and at most 0.1",
    ),
    "H07 negative": (
        "training: {learning_rate: -1e-4}",
        "found -0.0001",
        "write for example 0.0002",
    ),
    "H07 NaN": (
        "training: {learning_rate: .nan}",
        "learning_rate: found nan",
        "a number above 0",
    ),
    "H07 inf": (
        "training: {max_grad_norm: .inf}",
        "max_grad_norm: found inf",
        "at most 1,000",
    ),
    "learning rate of percent": (
        "training: {learning_rate: 2}",
        "found 2;",
        "at most 0.1",
    ),
    "H07 rank 0": ("lora: {r: 0}", "lora.r: found 0", "a whole number from 1 to 1,024"),
    "rank with decimals": ("lora: {r: 8.0}", "found 8.0", "write 8"),
    "rank of a half": ("lora: {r: 8.5}", "found 8.5", "write for example 16"),
    "H07 dropout 1": ("lora: {lora_dropout: 1}", "found 1;", "at least 0 and below 1"),
    "H07 batch 0": (
        "training: {per_device_train_batch_size: 0}",
        "per_device_train_batch_size: found 0",
        "a whole number from 1 to 4,096",
    ),
    "max_steps 0": ("training: {max_steps: 0}", "0 optimizer steps", "write -1"),
    "H08 NaN threshold": (
        "gate: {max_perplexity: .nan}",
        "max_perplexity: found nan",
        "above 1",
    ),
    "threshold of 1": (
        "gate: {max_perplexity: 1.0}",
        "found 1.0",
        "a number above 1 or null",
    ),
    "H10 moving revision": (
        "model: {revision: main}",
        'the text "main"',
        "a branch such as main",
    ),
    "short revision": (
        "model: {revision: 060db64}",
        "060db64",
        "40 hexadecimal digits",
    ),
    "H11 remote code": (
        "model: {trust_remote_code: true}",
        "true without model.revision",
        "pin",
    ),
    "web address": (
        "model: {name: https://huggingface.co/Qwen/Qwen2.5-0.5B}",
        "model.name: found the address",
        "write Qwen/Qwen2.5-0.5B",
    ),
    "number as a name": (
        "model: {name: 7}",
        "found 7; expected text",
        'write "7", in quotes',
    ),
    "float16": (
        "model: {torch_dtype: float16}",
        "torch_dtype: found float16",
        "write bfloat16",
    ),
    "float16 products": (
        "quantization: {bnb_4bit_compute_dtype: float16}",
        "bnb_4bit_compute_dtype: found float16",
        "allow_float16: true",
    ),
    "short dtype": (
        "model: {torch_dtype: bf16}",
        'the text "bf16"',
        "did you mean bfloat16?",
    ),
    "device": (
        "model: {device_map: gpu}",
        'device_map: found the text "gpu"',
        "mean cuda:0?",
    ),
    "near choice": (
        "quantization: {bnb_4bit_quant_type: nf}",
        "one of nf4, fp4",
        "mean nf4?",
    ),
    "H12 version in the name": (
        "registry: {name: v1.0/../x}",
        "v1.0/../x",
        "added by the registry",
    ),
    "empty name": ('registry: {name: ""}', 'the text ""', "2 to 63 small letters"),
    "long name": (
        f"registry: {{name: {'x' * 300}}}",
        "xxx...",
        "2 to 63 small letters",
    ),
    "other cloud": (
        "registry: {uri: gs://bucket}",
        '"gs://bucket"',
        "s3://bucket/prefix",
    ),
    "targets a number": ("lora: {target_modules: 5}", "found 5", "[q_proj, k_proj"),
    "no targets": (
        "lora: {target_modules: []}",
        "an empty list",
        "one regular expression",
    ),
    "broken expression": (
        "lora: {target_modules: 'q_proj('}",
        "no regular expression",
        "[q_proj",
    ),
    "splits leave nothing": (
        "data: {validation_share: 0.3, hold_out_share: 0.4}",
        "validation_share 0.3 + hold_out_share 0.4 = 0.7",
        "half of the documents",
    ),
    "no hold-out": (
        "data: {hold_out_share: 0}",
        "hold_out_share: found 0",
        "above 0 and below 0.5",
    ),
    "evaluation after the end": (
        "training: {max_steps: 10, eval_steps: 50}",
        "training.eval_steps: found eval_steps 50 in a run of max_steps 10",
        "set eval_steps to 2",
    ),
    "stride over window": (
        "evaluation: {window_tokens: 512, stride_tokens: 600}",
        "stride_tokens 600 over window_tokens 512",
        "tokens between two windows go unscored",
    ),
    "window under the rows": (
        "data: {max_tokens: 1024}",
        "window_tokens 512 under data.max_tokens 1024",
        "set evaluation.window_tokens to 1024",
    ),
    "temperature": (
        "evaluation: {sample_temperature: -1}",
        "found -1",
        "a number from 0 to 2",
    ),
    "prompts as text": (
        "evaluation: {sample_prompts: hello}",
        'the text "hello"',
        "a list, each",
    ),
    "no trials": (
        "trials: []",
        "trials: found an empty list",
        "a list, each entry a mapping",
    ),
    "trial of the data": (
        "trials: [{data.source: x}]",
        "trials[0].data.source",
        "share data and",
    ),
    "trial with a slip": (
        "trials: [{}, {lora.rr: 8}]",
        "trials[1].lora.rr",
        "did you mean r?",
    ),
    "trial out of range": (
        "trials: [{lora.r: 0}]",
        "trials[0].lora.r: found 0",
        "from 1 to 1,024",
    ),
    "mapping for a value": (
        "lora: {r: {a: 1}}",
        "found a mapping",
        "write one value behind",
    ),
    "no value": (
        "lora:\n  r:",
        "line 2: lora.r: found nothing (null)",
        "write for example 16",
    ),
}


def refusal_of(text: str) -> str:
    with pytest.raises(UserError) as refused:
        read_run_config(text)
    assert refused.value.exit_code == EX_CONFIG
    return refused.value.message


@pytest.mark.parametrize(("text", "found", "do"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_explained(text: str, found: str, do: str) -> None:
    message = refusal_of(text)
    assert found in message
    assert do in message
    assert "expected" in message
    assert "pydantic" not in message and "Input should" not in message


def test_at_least_forty_wrong_settings_have_forty_different_sentences() -> None:
    sentences = {refusal_of(text) for text, _, _ in WRONG.values()}
    # Two pairs share a sentence on purpose: an empty text and one of comments only.
    assert len(sentences) >= len(WRONG) - 1 >= 40


def test_all_problems_are_listed_at_once_in_the_order_of_the_lines() -> None:
    message = refusal_of(
        "lora:\n  r: 0\n  rank: 8\nmodel:\n  revision: main\n  name: !!python/name:os.system x\n"
        "training: {max_steps: 10, eval_steps: 50}"
    )
    assert message.startswith("The configuration has 5 problems:\n")
    lines = [line.split(":")[0].strip() for line in message.splitlines()[1:]]
    assert lines == ["line 2", "line 3", "line 5", "line 6", "line 7"]


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
KEYS = [
    (name, key)
    for name in keys_at(RunConfig, ())
    for key in keys_at(RunConfig, (name,))
]


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, ("trials",), ("lora",), ("x",)]), ANY_VALUE, max_size=3
    )
)
def test_any_value_at_any_key_gives_settings_or_a_refusal(
    values: dict[tuple[str, ...], object],
) -> None:
    try:
        config = resolve(
            merge_overrides({}, {".".join(k): v for k, v in values.items()})
        )
    except UserError as refused:
        assert refused.exit_code == EX_CONFIG
        assert "expected" in refused.message
    else:
        assert resolve(config.model_dump(mode="json")) == config
