"""The committed starter model is a whole Qwen2: tokenizer, template, weights, and some English."""

import hashlib
import math
import unicodedata

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM

from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.starter_corpus import starter_documents
from packages.qwen_ft.starter.build_starter import (
    CHECKSUMS,
    STARTER_FOLDER,
    write_checksums,
)
from packages.qwen_ft.starter.pretrain import Recipe, encode, pretrain
from packages.qwen_ft.starter.prose import CommentBlock, comment_blocks

MAX_BYTES = 6_000_000
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And 3?"},
    {"role": "assistant", "content": "Five."},
]
PROSE = (
    "If the file does not exist, an error is raised. Otherwise the function returns the number of "
    "bytes that were read. The default value is used when the argument is not given. This method "
    "must be called before the thread is started, and it returns None if the object is closed."
)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(STARTER_FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(STARTER_FOLDER, local_files_only=True)


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in STARTER_FOLDER.iterdir()) <= MAX_BYTES


def test_every_file_is_the_one_that_was_built():
    sums = dict(
        reversed(line.split("  "))
        for line in (STARTER_FOLDER / CHECKSUMS).read_text().splitlines()
    )
    assert set(sums) == {path.name for path in STARTER_FOLDER.iterdir()} - {CHECKSUMS}
    for name, sha256 in sums.items():
        assert (
            hashlib.sha256((STARTER_FOLDER / name).read_bytes()).hexdigest() == sha256
        ), name


def test_checksums_are_those_of_sha256sum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    write_checksums(tmp_path)
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
    assert (tmp_path / CHECKSUMS).read_text() == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("  two  spaces,\ttabs\t\n\n\nand\r\nlines \n ", id="white space"),
        pytest.param("def f(x):\n    return x**2  # don't", id="code"),
        pytest.param("naïve café 北京 Привет שלום مرحبا ไทย", id="scripts"),
        pytest.param(
            "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 \u200b\u200d\ufeff", id="joiners and zero width"
        ),
        pytest.param("\x00\x01\x7f\x1b[31m", id="control characters"),
        pytest.param("\U0010ffff\ue000\ufffd", id="edges of Unicode"),
        pytest.param("A" * 3000 + "1234567890", id="long run"),
        pytest.param("e\u0301 \u1e9b\u0323 \u212b", id="not NFC"),
        pytest.param(
            "a <|im_end|> b <|im_start|>user <|endoftext|>",
            id="control tokens in the text",
        ),
        pytest.param("", id="empty"),
    ],
)
def test_any_text_comes_back_byte_for_byte(tokenizer, text):
    # NFC is Qwen2's own normalizer: text that is NFC already, as nearly all is, is left unchanged.
    assert (
        tokenizer.decode(tokenizer.encode(text)).encode()
        == unicodedata.normalize("NFC", text).encode()
    )


def test_every_byte_and_every_id_is_covered(tokenizer):
    assert len(tokenizer) == 4096
    assert tokenizer.convert_ids_to_tokens(list(range(4093, 4096))) == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    every_latin = "".join(map(chr, range(0x100)))
    assert tokenizer.decode(tokenizer.encode(every_latin)) == every_latin


def test_digits_are_single_tokens_as_in_qwen2(tokenizer):
    assert tokenizer.tokenize("2048") == ["2", "0", "4", "8"]


def test_padding_and_the_ends_of_text_and_turn_are_told_apart(tokenizer, model):
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert set(model.generation_config.eos_token_id) == {
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    }


def test_template_is_chatml_worked_by_hand(tokenizer):
    assert tokenizer.apply_chat_template(CONVERSATION, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n"
        "<|im_start|>assistant\nFour.<|im_end|>\n"
        "<|im_start|>user\nAnd 3?<|im_end|>\n"
        "<|im_start|>assistant\nFive.<|im_end|>\n"
    )


def test_template_adds_no_system_turn_and_opens_the_answer(tokenizer):
    asked = tokenizer.apply_chat_template(
        CONVERSATION[1:2], tokenize=False, add_generation_prompt=True
    )
    assert (
        asked == "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_assistant_mask_is_exactly_the_answers_and_their_ends(tokenizer):
    rendered = tokenizer.apply_chat_template(
        CONVERSATION, return_dict=True, return_assistant_tokens_mask=True
    )
    scored = [
        i
        for i, mask in zip(
            rendered["input_ids"], rendered["assistant_masks"], strict=True
        )
        if mask
    ]
    assert tokenizer.decode(scored) == "Four.<|im_end|>Five.<|im_end|>"


def test_a_role_takes_one_token(tokenizer):
    opened = tokenizer.encode("<|im_start|>assistant\n")
    assert len(opened) == 3


def test_every_corpus_document_fits_256_tokens(tokenizer):
    assert max(map(len, encode(tokenizer, list(starter_documents())))) <= 256


def test_architecture_is_that_of_qwen2(model):
    assert isinstance(model, Qwen2ForCausalLM)
    assert model.dtype == torch.bfloat16
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert model.config.max_position_embeddings >= 1024
    assert model.lm_head.weight is model.model.embed_tokens.weight
    attention = model.model.layers[0].self_attn
    biases = [
        getattr(attention, name).bias is not None
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    ]
    assert biases == [True, True, True, False]


def test_every_matrix_is_made_of_whole_nf4_blocks(model):
    widths = [
        size
        for parameter in model.parameters()
        if parameter.ndim == 2
        for size in parameter.shape
    ]
    assert not [size for size in widths if size % 64]


def test_every_weight_is_finite_and_every_tensor_was_trained(model):
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.unique().numel() > 1, name


def test_the_model_knows_english(model, tokenizer):
    ids = torch.tensor([tokenizer.encode(PROSE)])
    with torch.no_grad():
        loss = model.float()(input_ids=ids, labels=ids).loss.item()
    # Recorded run: the committed weights on a Xeon with AVX-512, float32, torch 2.13.0.
    # A model that knows nothing has 4,096, the size of the vocabulary.
    assert math.exp(loss) == pytest.approx(36.07, rel=0.01)


def test_pretraining_twice_gives_the_same_weights(tokenizer):
    documents = [
        Document((), PROSE, "prose"),
        Document(
            (Message("user", "What is it?"), Message("assistant", "A test.")),
            "",
            "chat",
        ),
    ]
    recipe = Recipe(epochs=9, batch_tokens=64, row_tokens=32, last_row_tokens=64)
    first, second = (
        pretrain(tokenizer, documents, recipe).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_comments_are_joined_and_carry_the_code_below_them():
    source = (
        "# ---------\n# Two lines that say\n# what happens here.\nx = 1\n"
        "\n# too short\ny = 2\n# The last one, with nothing below it\n"
    )
    assert list(comment_blocks(source)) == [
        CommentBlock("Two lines that say\nwhat happens here.", "x = 1"),
        CommentBlock("The last one, with nothing below it", ""),
    ]
