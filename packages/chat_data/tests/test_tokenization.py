import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.problems import Problem
from packages.chat_data.src.tokenization import (
    DocumentEncoder,
    TokenRules,
    control_tokens,
    encode_document,
)
from packages.chat_data.tests.conftest import MARKED_TEMPLATE, QWEN25_TEMPLATE
from packages.cloud.src.exit_codes import UserError

CHAT = Document(
    (Message("user", "the question"), Message("assistant", "the lazy dog \u00e9")),
    "",
    "a.jsonl:3",
)


def text_document(text):
    return Document((), text, "a.txt:7")


def encode(tokenizer, document, max_tokens=10_000, **rules):
    return DocumentEncoder(tokenizer, TokenRules(max_tokens, **rules)).encode(
        [document]
    )[0]


def one(tokenizer, document, **keywords):
    settings = {
        "train_on_prompt": False,
        "system_message": None,
        "max_tokens": 10_000,
        **keywords,
    }
    return encode_document(tokenizer, document, **settings)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_plain_text_decodes_to_the_same_bytes(tokenizer, text):
    import unicodedata

    text = unicodedata.normalize("NFC", text)
    row = encode(tokenizer, text_document(text), escape_control_tokens=True)[0]
    assert (
        tokenizer.decode(row.ids[:-1], clean_up_tokenization_spaces=False).encode()
        == text.encode()
    )
    assert row.ids[-1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert row.ids.dtype == np.uint32


def test_plain_text_is_scored_but_for_its_first_token(tokenizer):
    row = one(tokenizer, text_document("the quick brown fox"))
    assert row.scored.tolist() == [False] + [True] * (len(row.ids) - 1)
    # The end token has no bytes, the first token is not scored.
    first = tokenizer.decode(row.ids[:1])
    assert row.scored_bytes == len("the quick brown fox") - len(first)


def test_conversation_ids_are_those_of_apply_chat_template(make_tokenizer):
    turns = [{"role": turn.role, "content": turn.content} for turn in CHAT.messages]
    for template in (QWEN25_TEMPLATE, MARKED_TEMPLATE):
        tokenizer = make_tokenizer(template)
        expected = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
        assert one(tokenizer, CHAT).ids.tolist() == expected


def test_the_mask_is_that_of_transformers_where_the_template_has_marks(make_tokenizer):
    tokenizer = make_tokenizer(MARKED_TEMPLATE)
    turns = [{"role": turn.role, "content": turn.content} for turn in CHAT.messages]
    expected = tokenizer.apply_chat_template(
        turns, return_dict=True, return_assistant_tokens_mask=True
    )
    assert one(tokenizer, CHAT).scored.tolist() == [
        bool(flag) for flag in expected["assistant_masks"]
    ]


def test_the_mask_without_marks_equals_the_mask_with_marks(make_tokenizer):
    rows = [
        one(make_tokenizer(template), CHAT)
        for template in (QWEN25_TEMPLATE, MARKED_TEMPLATE)
    ]
    assert rows[0].ids.tolist() == rows[1].ids.tolist()
    assert rows[0].scored.tolist() == rows[1].scored.tolist()


def test_the_answer_and_its_end_token_are_learned_and_counted_in_bytes(tokenizer):
    row = one(tokenizer, CHAT)
    assert tokenizer.decode(row.ids[row.scored]) == "the lazy dog \u00e9<|im_end|>"
    # "the lazy dog " is 13 bytes, the last letter 2.
    assert row.scored_bytes == 15


def test_a_token_shared_with_the_prompt_is_not_learned(tokenizer):
    # The answer's own line ends join the one behind "assistant" in a single run, as Qwen's pre-tokenizer has it.
    row = one(
        tokenizer,
        Document((Message("user", "q"), Message("assistant", "\n\nno")), "", "a:1"),
    )
    assert tokenizer.decode(row.ids[row.scored]) in (
        "no<|im_end|>",
        "\n\nno<|im_end|>",
        "\nno<|im_end|>",
    )
    before = tokenizer.decode(row.ids[: int(np.argmax(row.scored))])
    assert before.rstrip("\n").endswith("assistant")


def test_training_on_the_prompt_scores_all_but_the_first_token(tokenizer):
    row = one(tokenizer, CHAT, train_on_prompt=True)
    assert row.scored.tolist() == [False] + [True] * (len(row.ids) - 1)


@pytest.mark.parametrize(
    "document",
    [
        text_document("a <|im_end|> b"),
        Document(
            (Message("user", "<|im_start|>"), Message("assistant", "a")), "", "a.txt:7"
        ),
    ],
)
def test_a_control_token_in_user_text_is_refused_with_its_place(tokenizer, document):
    problem = encode(tokenizer, document)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.place, problem.line) == ("FT-D020", "a.txt", 7)


def test_escaped_control_tokens_never_become_control_ids(tokenizer):
    control = {
        tokenizer.convert_tokens_to_ids(token) for token in control_tokens(tokenizer)
    }
    text = "a <|im_end|> b<|endoftext|>"
    row = encode(tokenizer, text_document(text), escape_control_tokens=True)[0]
    assert not control & set(row.ids[:-1].tolist())
    assert tokenizer.decode(row.ids[:-1]) == text

    answer = "say <|im_end|>\ue0f7 now"
    chat = Document(
        (Message("user", "quote <|im_start|>system"), Message("assistant", answer)),
        "",
        "a:1",
    )
    row = encode(tokenizer, chat, escape_control_tokens=True)[0]
    assert tokenizer.decode(row.ids[row.scored]) == answer + "<|im_end|>"
    assert row.scored_bytes == len(answer.encode())
    # Qwen2.5's template itself brings three turns of two control tokens.
    assert sum(number in control for number in row.ids.tolist()) == 6


def test_chunks_lose_no_token(tokenizer):
    text = "the quick brown fox jumps over the lazy dog " * 9
    whole = one(tokenizer, text_document(text.strip()))
    rows = encode(
        tokenizer, text_document(text.strip()), max_tokens=50, over_length="chunk"
    )
    assert np.concatenate([row.ids for row in rows]).tolist() == whole.ids.tolist()
    assert [len(row.ids) for row in rows[:-1]] == [50] * (len(rows) - 1)
    assert not any(row.scored[0] for row in rows)


@pytest.mark.parametrize(("policy", "rows"), [("truncate", 1), ("drop", 0)])
def test_long_documents_follow_the_policy_and_are_counted(tokenizer, policy, rows):
    encoder = DocumentEncoder(tokenizer, TokenRules(20, policy))
    results = encoder.encode([text_document("the lazy dog " * 30), text_document("no")])
    assert [len(result) for result in results] == [rows, 1]
    assert all(len(row.ids) <= 20 for row in results[0])
    assert encoder.changes == {policy: 1}


def test_the_policy_fail_names_the_length(tokenizer):
    problem = encode(
        tokenizer,
        text_document("the lazy dog " * 30),
        max_tokens=20,
        over_length="fail",
    )
    assert problem.code == "FT-D058"
    assert "more than max_tokens = 20" in problem.message


@pytest.mark.parametrize("policy", ["truncate", "chunk"])
def test_c10_a_document_with_nothing_left_to_learn_is_an_error(tokenizer, policy):
    long_prompt = Document(
        (Message("user", "the quick " * 50), Message("assistant", "a")), "", "a.jsonl:3"
    )
    problem = encode(tokenizer, long_prompt, max_tokens=20, over_length="truncate")
    assert (problem.code, problem.place, problem.line) == ("FT-D057", "a.jsonl", 3)
    if policy == "chunk":
        rows = encode(tokenizer, long_prompt, max_tokens=20, over_length="chunk")
        assert [int(row.scored.sum()) for row in rows] == [2]


def test_padding_that_ends_sequences_is_refused(make_tokenizer):
    with pytest.raises(UserError, match="never learns to stop"):
        encode(make_tokenizer(eos_token="<|endoftext|>"), CHAT)


def test_the_tokenizer_of_the_caller_stays_as_it_was(make_tokenizer):
    tokenizer = make_tokenizer()
    before = tokenizer.backend_tokenizer.to_str()
    encode(tokenizer, CHAT)
    assert tokenizer.backend_tokenizer.to_str() == before
    assert not tokenizer.backend_tokenizer.encode_special_tokens


@pytest.mark.parametrize("change", [{"over_length": "cut"}, {"max_tokens": 1}])
def test_rules_check_themselves(change):
    with pytest.raises(ValueError, match="Expected"):
        TokenRules(**{"max_tokens": 10, **change})
