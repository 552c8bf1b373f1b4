"""The card shows what was decided, for accepted, rejected and broken runs, and nothing escapes."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from metaflow.cards import Markdown, Table, VegaChart

from packages.chat_data.src.pins import PinnedObject, PinnedSource
from packages.chat_data.src.token_manifest import PreviewRow, TokenManifest
from packages.chat_data.src.token_shards import TokenSplit
from packages.qwen_ft.src.base_model import BaseModelPin
from packages.qwen_ft.src.cards import (
    live_curves,
    mask_part,
    number,
    run_card,
    trials_table,
)
from packages.qwen_ft.src.config import RunConfig
from packages.qwen_ft.src.evaluation_report import (
    Answer,
    EvaluationReport,
    ModelScore,
    Sample,
)
from packages.qwen_ft.src.gate import decide
from packages.qwen_ft.src.trained_adapter import CurvePoint, TrainedAdapter

ATTACK = '</div><script>alert("x")</script>\n\n# Heading\n| a | b |\n'
CURVES = (
    CurvePoint(0, validation_perplexity=20.0),
    CurvePoint(5, train_loss=2.5),
    CurvePoint(10, train_loss=2.25, validation_perplexity=10.0),
    CurvePoint(15, train_loss=math.nan, validation_perplexity=math.inf),
)
ADAPTER = TrainedAdapter(
    files=(),
    store_uri="file:///store",
    adapter_sha256="a" * 64,
    trial=(),
    curves=CURVES,
    trainable_parameters=50,
    total_parameters=1000,
    first_perplexity=20.0,
    last_perplexity=10.0,
    validation_documents=20,
    validation_tokens=400,
    steps=10,
    epochs=1.0,
    effective_batch=8,
    train_tokens=800,
    seconds=12.0,
    train_seconds=8.5,
    weight_bytes=4000,
    precision="4-bit NF4",
    notes=("bfloat16 is slow here.",),
)
SPLIT = TokenSplit(
    ("s",), documents=20, tokens=800, scored_tokens=400, scored_bytes=1600
)
SOURCE = PinnedSource("data/<b>", "local", "", (PinnedObject("a", 9, "e" * 64, "e"),))
TOKENS = TokenManifest(
    key="k" * 64,
    train=SPLIT,
    validation=SPLIT,
    hold_out=SPLIT,
    data_sha256="d" * 64,
    tokenizer_sha256="t" * 64,
    template_sha256="m" * 64,
    options_sha256="o" * 64,
    format_reason="rows with `messages`",
    documents=60,
    characters=900,
    bytes_read=1234567,
    duplicates_dropped=213,
    left_out=0,
    rejected=(("FT-D042", 2),),
    notices=(),
    over_length=(("chunk", 12),),
    histogram=((64, 60),),
    preview=(
        PreviewRow(
            "a:1", ("user", "\n", "<b>", " yes", "\n"), (False,) * 3 + (True,) * 2
        ),
    ),
)


def report(tuned_nats: float) -> EvaluationReport:
    """20 documents of 20 tokens; the base needs 2.5 nats for each."""

    def score(nats: float) -> ModelScore:
        return ModelScore(math.exp(nats), nats, nats, (20 * nats,) * 20)

    sample = Sample(ATTACK, "", Answer(ATTACK, False, 64), Answer("", True, 1))
    return EvaluationReport(
        base=score(2.5),
        tuned=score(tuned_nats),
        document_keys=tuple(map(str, range(20))),
        tokens_by_document=(20,) * 20,
        scored_tokens=400,
        scored_bytes=1600,
        runtime_s=1.0,
        window_tokens=512,
        stride_tokens=256,
        precision="float32",
        data_sha256="d" * 64,
        adapter_sha256="a" * 64,
        samples=(sample,),
    )


BASE = BaseModelPin("starter://tiny-qwen2", "b" * 40, "starter")


def card(measured: EvaluationReport, registered: str = "") -> list[Any]:
    config = RunConfig()
    verdict = decide(measured, config.gate)
    return run_card(
        config, BASE, SOURCE, TOKENS, (ADAPTER,), ADAPTER, measured, verdict, registered
    )


def text_of(components: list[Any]) -> str:
    """What the card's page is made from."""
    return "\n".join(json.dumps(part.render(), allow_nan=False) for part in components)


def test_an_accepted_run_shows_its_numbers_and_its_version() -> None:
    text = text_of(card(report(2.0), "tiny-qwen2-lora v1.1"))
    for shown in (
        "Accepted",
        "12.18",
        "7.389",
        "0.607 to 0.607",
        "v1.1",
        "tiny-qwen2-lora",
    ):
        assert shown in text
    assert "failed" not in text


def test_a_rejected_run_shows_which_rule_failed_and_registers_nothing() -> None:
    text = text_of(card(report(2.5)))
    for shown in (
        "Rejected",
        "failed",
        "is not significantly below 1",
        "registers nothing",
    ):
        assert shown in text


def test_a_broken_run_still_has_a_card() -> None:
    broken = report(2.0)
    broken = replace(
        broken, tuned=ModelScore(*(math.nan,) * 3, (math.nan,) * 20), samples=()
    )
    text = text_of(card(broken))
    assert "the tuned model has nan nats" in text
    assert "No samples were asked for" in text


def test_text_of_users_never_becomes_markup() -> None:
    for part in card(report(2.0)):
        if isinstance(part, Markdown):
            source = part.render()["source"].strip()
            assert "<script" not in source
            assert "\n" not in source
            # every tag is one of ours, and closed
            opened = re.findall(r"<(\w+)[ >]", source)
            assert sorted(t for t in opened if t != "br") == sorted(
                re.findall(r"</(\w+)>", source)
            )
    assert "&lt;script&gt;" in text_of(card(report(2.0)))


def test_the_curves_start_before_training_and_leave_out_what_is_no_number() -> None:
    (table,) = (part for part in card(report(2.0)) if isinstance(part, Table))
    perplexity, loss = table.render()["data"][0]
    assert perplexity["spec"]["data"]["values"] == [
        {"step": 0, "value": 20.0},
        {"step": 10, "value": 10.0},
    ]
    assert loss["spec"]["data"]["values"] == [
        {"step": 5, "value": 2.5},
        {"step": 10, "value": 2.25},
    ]


def test_the_live_card_shows_each_new_point() -> None:
    class FakeCard:
        def __init__(self) -> None:
            self.parts: list[Any] = []
            self.refreshed = 0

        def append(self, part: Any) -> None:
            self.parts.append(part)

        def refresh(self) -> None:
            self.refreshed += 1

    fake = FakeCard()
    show = live_curves(fake)
    show(CURVES[:1])
    show(CURVES[:3])
    chart = next(part for part in fake.parts if isinstance(part, VegaChart))
    assert [v["step"] for v in chart.render()["spec"]["data"]["values"]] == [0, 10]
    assert fake.refreshed == 2


def test_the_mask_view_marks_exactly_the_scored_tokens() -> None:
    (part,) = mask_part(TOKENS.preview)
    source = part.render()["source"]
    assert "2 of 5 tokens" in source
    spans = re.findall(
        r'<span style="(background[^"]*|color[^"]*)">([^<]*(?:<br>)?)</span>', source
    )
    learned = [text for style, text in spans if style.startswith("background")]
    assert learned == ["learned", " yes", "↵<br>"]


def test_the_chosen_trial_is_marked_where_there_is_a_choice() -> None:
    other = replace(ADAPTER, trial=(("lora.r", 8),), adapter_sha256="b" * 64)
    text = text_of([trials_table((ADAPTER, other), other)])
    assert "lora.r=8 (chosen)" in text
    assert "as configured (chosen)" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (200.0, "200"), (0.73824, "0.7382"), (math.nan, "nan")],
)
def test_a_number_has_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text
