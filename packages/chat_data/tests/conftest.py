"""A tokenizer like Qwen's, small enough to be made for each test session."""

import io

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from packages.chat_data.src.limits import ReadOptions
from packages.chat_data.src.problems import BadData, ReadReport
from packages.chat_data.src.read_documents import read_documents
from packages.chat_data.src.sources import pin_source

# The branch without tools of the template that Qwen2.5-0.5B-Instruct publishes: no generation marks.
QWEN25_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant") %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# The same conversation text, with marks around what the assistant produces.
MARKED_TEMPLATE = QWEN25_TEMPLATE.replace(
    """or (message.role == "assistant") %}""", "%}"
).replace(
    """    {%- endif %}
{%- endfor %}""",
    """    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- endif %}
{%- endfor %}""",
)
# Qwen2's own, from its tokenizer.json.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT = [
    "the quick brown fox jumps over the lazy dog and asks a question",
    "answer: yes\n\nno",
]


@pytest.fixture(scope="session")
def make_tokenizer():
    """A factory: tokenizers share nothing, so a test may change its own."""
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.NFC()
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learned.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, show_progress=False
    )
    learned.train_from_iterator(_TEXT * 4, trainer)
    learned.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    serialized = learned.to_str()

    def make(template=QWEN25_TEMPLATE, **changes):
        keywords = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", **changes}
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(serialized),
            chat_template=template,
            **keywords,
        )

    return make


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer):
    return make_tokenizer()


@pytest.fixture
def read(tmp_path):
    """Write files, read them as one source: (documents, report). Problems are in the report, not raised."""

    def read_files(files, options=None, uri=None, quarantine=False):
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        only = tmp_path / next(iter(files)) if len(files) == 1 else tmp_path
        report = ReadReport(io.StringIO() if quarantine else None)
        documents = []
        try:
            for document in read_documents(
                pin_source(uri or str(only)), options or ReadOptions(), report
            ):
                documents.append(document)
        except BadData as error:
            report.problems[:] = error.problems
        return documents, report

    return read_files
