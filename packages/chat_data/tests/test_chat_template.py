import pytest

from packages.chat_data.src.chat_template import ChatTemplate
from packages.chat_data.src.document import Message
from packages.chat_data.tests.conftest import MARKED_TEMPLATE, QWEN25_TEMPLATE
from packages.cloud.src.exit_codes import UserError

SYSTEM = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
TALK = (
    Message("user", "q1"),
    Message("assistant", "a1"),
    Message("user", "q2"),
    Message("assistant", " a2\n"),
)


def learned(template, messages, **options):
    settings = {"train_on_prompt": False, "system_message": None, **options}
    chat = ChatTemplate(template, **settings).render(messages)
    return chat.text, [chat.text[start:end] for start, end in chat.spans]


@pytest.mark.parametrize(
    "template", [QWEN25_TEMPLATE, MARKED_TEMPLATE], ids=["without marks", "with marks"]
)
def test_the_answers_and_their_end_tokens_are_learned(make_tokenizer, template):
    text, spans = learned(make_tokenizer(template), TALK)
    assert spans == ["a1<|im_end|>", " a2\n<|im_end|>"]
    # Written out by hand in Qwen2.5's format.
    assert text == SYSTEM + (
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
        "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n a2\n<|im_end|>\n"
    )


def test_marks_that_leave_out_the_end_token_are_widened(make_tokenizer):
    template = MARKED_TEMPLATE.replace("content + '<|im_end|>' }}\n        {%- endgeneration %}", "content }}\n        {%- endgeneration %}{{ '<|im_end|>' }}")  # fmt: skip
    assert learned(make_tokenizer(template), TALK)[1] == [
        "a1<|im_end|>",
        " a2\n<|im_end|>",
    ]


def test_the_text_is_that_of_apply_chat_template(make_tokenizer):
    for template in (QWEN25_TEMPLATE, MARKED_TEMPLATE):
        tokenizer = make_tokenizer(template)
        turns = [{"role": turn.role, "content": turn.content} for turn in TALK]
        assert learned(tokenizer, TALK)[0] == tokenizer.apply_chat_template(
            turns, tokenize=False
        )


def test_a_missing_system_turn_is_given_once(tokenizer):
    own = (Message("system", "mine"), *TALK)
    given = learned(tokenizer, TALK, system_message="Be brief.")[0]
    assert given.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
    assert learned(tokenizer, own, system_message="Be brief.")[0].count("system\n") == 1
    assert "Be brief." not in learned(tokenizer, own, system_message="Be brief.")[0]


def test_training_on_the_prompt_learns_everything(tokenizer):
    text, spans = learned(tokenizer, TALK, train_on_prompt=True)
    assert spans == [text]


def test_a_template_that_rewrites_earlier_turns_is_refused(make_tokenizer):
    template = QWEN25_TEMPLATE.replace(
        "'\\n' + message.content",
        "'\\n' + (message.content if loop.last else 'shortened')",
    )
    with pytest.raises(UserError, match="renders turn 2 differently"):
        learned(make_tokenizer(template), TALK)


def test_a_template_that_never_ends_a_turn_is_refused(make_tokenizer):
    with pytest.raises(UserError, match="would never learn to stop"):
        learned(make_tokenizer(QWEN25_TEMPLATE.replace("<|im_end|>", "")), TALK)


def test_a_tokenizer_without_a_template_is_refused(make_tokenizer):
    with pytest.raises(UserError, match="no chat template"):
        learned(make_tokenizer(None), TALK)
