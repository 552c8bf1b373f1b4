import numpy as np
import torch

from packages.chat_data.src.tokenization import TokenizedDocument
from packages.qwen_ft.src import adapter
from packages.qwen_ft.src.document_attention import attend_within_documents
from packages.qwen_ft.src.sample import (
    Prompt,
    answer_prompts,
    prompt_of_document,
    prompt_of_text,
)
from packages.qwen_ft.tests.tiny_documents import tiny_config
from packages.qwen_ft.tests.tiny_qwen import byte_tokenizer, tiny_qwen


def _document(scored):
    return TokenizedDocument(
        np.arange(len(scored), dtype=np.uint32), np.array(scored, bool), 1
    )


def test_the_prompt_ends_where_the_answer_begins():
    found = prompt_of_document(_document([0, 0, 0, 1, 1, 0, 0, 1]))
    assert found == Prompt((0, 1, 2), (3, 4))


def test_plain_text_is_continued_from_its_beginning():
    found = prompt_of_document(_document([0] + [1] * 9))
    assert found == Prompt((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def test_a_prompt_of_the_config_is_a_users_turn():
    tokenizer = byte_tokenizer()
    found = prompt_of_text(tokenizer, "Hi", "Be kind")
    assert tokenizer.decode(found.ids) == (
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def _answers(prompts, bias=0.0, max_tokens=6):
    """Answers of a model whose score of <|im_end|> is raised by `bias`."""
    model = tiny_qwen(tie_word_embeddings=False)
    head = torch.nn.Linear(64, 259, bias=True)
    head.weight.data = model.lm_head.weight.data
    head.bias.data.zero_()
    head.bias.data[256] = bias
    model.lm_head = head
    attend_within_documents(model)
    lora = tiny_config("org/tiny").lora
    adapted = adapter.attach_adapter(model, lora, 0).eval()
    return answer_prompts(adapted, byte_tokenizer(), prompts, max_tokens=max_tokens)


def test_an_answer_that_ends_by_itself_is_told_from_one_that_was_cut():
    (ended,) = _answers([Prompt((1, 2, 3))], bias=1e4)
    assert ended.tuned.stopped and ended.tuned.text == "" and ended.tuned.tokens == 0
    (cut,) = _answers([Prompt((1, 2, 3))], bias=-1e4)
    assert not cut.tuned.stopped and cut.tuned.tokens == 6


def test_prompts_of_uneven_length_are_answered_as_alone():
    prompts = [Prompt((5, 6, 7, 8, 9)), Prompt((1, 2))]
    together = _answers(prompts)
    alone = [_answers([prompt])[0] for prompt in prompts]
    assert list(together) == alone


def test_no_prompts_give_no_samples():
    assert _answers([]) == ()
