"""The summary at the end of a run."""

from types import SimpleNamespace

from packages.model_registry.src.register import RegisteredVersion
from packages.qwen_ft.src.gate import Rule, Verdict
from packages.qwen_ft.src.show_run import summary


def finished(accepted: bool):
    rule = Rule(
        "better than the base", accepted, 0.735, 1, (0.72, 0.75), "tuned/base 0.735"
    )
    score = SimpleNamespace(perplexity=116.3347, bits_per_byte=1.862)
    tuned = SimpleNamespace(perplexity=85.5194, bits_per_byte=1.742)
    return SimpleNamespace(
        pathspec="TrainingFlow/17",
        verdict=Verdict(accepted, (rule,)),
        report=SimpleNamespace(
            base=score, tuned=tuned, scored_tokens=11301, document_keys=("a", "b")
        ),
        adapter=SimpleNamespace(adapter_sha256="5d" * 32),
        config=SimpleNamespace(registry=SimpleNamespace(uri="registry")),
    )


def test_an_accepted_run_says_numbers_place_and_next_command():
    version = RegisteredVersion(
        "tiny-lora", "v1.0", "0" * 64, "file:///r/tiny-lora/v1.0"
    )

    text = summary(finished(True), version)

    assert text.startswith("accepted: tuned/base 0.735")
    assert "116.335 base, 85.519 tuned  (11,301 tokens of 2 documents)" in text
    assert "file:///r/tiny-lora/v1.0" in text and "card view 17/end" in text
    assert "registry show tiny-lora v1.0 --registry registry" in text


def test_a_rejected_run_says_that_nothing_was_registered():
    text = summary(finished(False), None)

    assert text.startswith("rejected: tuned/base 0.735")
    assert "nothing; the version in production stays" in text
