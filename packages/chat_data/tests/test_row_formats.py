import pytest

from packages.chat_data.src.row_formats import (
    RowProblem,
    detect_format,
    ignored_keys,
    named_format,
    row_document,
)

EXCHANGE = [("user", "q"), ("assistant", "a")]
ROWS = [
    (
        "messages",
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"},
            ]
        },
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
    ),
    ("alpaca", {"instruction": "q", "input": "", "output": "a"}),
    ("alpaca", {"instruction": "q", "output": "a"}),
    ("prompt_completion", {"prompt": "q", "completion": "a"}),
    ("prompt_completion", {"prompt": "q", "response": "a"}),
    ("question_answer", {"question": "q", "answer": "a"}),
]


@pytest.mark.parametrize(
    ("name", "row"), ROWS, ids=[f"{name} {'/'.join(row)}" for name, row in ROWS]
)
def test_each_published_layout_is_detected_and_gives_the_same_conversation(name, row):
    found = detect_format(row)
    assert found.name == name
    document = row_document(row, found, "a.jsonl:1")
    assert [(turn.role, turn.content) for turn in document.messages] == EXCHANGE


def test_a_text_row_is_plain_text():
    found = detect_format({"text": "a", "id": 1})
    assert row_document({"text": "a"}, found, "a:1").text == "a"
    assert ignored_keys({"text": "a", "id": 1}, found) == 1


def test_chat_wins_over_the_rendered_text_beside_it():
    assert detect_format({"text": "<rendered>", "messages": []}).name == "messages"


def test_an_alpaca_input_follows_the_instruction():
    row = {"instruction": "Translate.", "input": "Hund", "output": "dog"}
    document = row_document(row, named_format("alpaca"), "a:1")
    assert document.messages[0].content == "Translate.\n\nHund"


def test_a_system_field_becomes_the_system_turn():
    row = {"prompt": "q", "completion": "a", "system": "Be brief."}
    document = row_document(row, named_format("prompt_completion"), "a:1")
    assert [turn.role for turn in document.messages] == ["system", "user", "assistant"]


def test_merging_joins_turns_of_one_role():
    turns = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]
    document = row_document(
        {"messages": turns}, named_format("messages"), "a:1", merge_turns=True
    )
    assert [turn.content for turn in document.messages] == ["a\n\nb", "c"]


@pytest.mark.parametrize(
    ("row", "near"),
    [({"Text": "a"}, "Text"), ({"texts": "a"}, "texts"), ({" text": "a"}, " text")],
)
def test_a_missing_field_names_the_nearest_key(row, near):
    with pytest.raises(RowProblem, match=f'did you mean "{near}"'):
        row_document(row, named_format("text"), "a:1")


def test_an_unknown_format_lists_the_known_ones():
    with pytest.raises(ValueError, match="messages, sharegpt, alpaca"):
        named_format("chatml")
