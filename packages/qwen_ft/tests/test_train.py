import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src import train as training
from packages.qwen_ft.src.adapter import WEIGHTS_FILE, load_adapter
from packages.qwen_ft.src.adapter_trainer import NonFiniteLoss
from packages.qwen_ft.src.base_model import resolve_base_model
from packages.qwen_ft.src.document_nll import score_documents
from packages.qwen_ft.src.preemption import Preempted
from packages.qwen_ft.src.recipe import FAST, PLAIN
from packages.qwen_ft.src.train import TrainingSplits, train_on_splits
from packages.qwen_ft.tests.tiny_documents import tiny_config, tiny_documents
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen, write_tiny_model

SPLITS = TrainingSplits(tiny_documents(30, seed=1), tiny_documents(6, seed=2))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("base") / "m")


def _train(
    folder, out, *overrides, recipe=FAST, splits=SPLITS, run="run", on_progress=None
):
    config = tiny_config(folder, *overrides)
    return train_on_splits(
        config,
        resolve_base_model(config.model),
        splits,
        out / "adapter",
        out / run,
        on_progress,
        recipe,
    )


def test_the_same_seed_gives_the_same_adapter(model_folder, tmp_path):
    dropout = "lora.lora_dropout=0.1"
    shas = [
        _train(model_folder, tmp_path / name, dropout, seed).adapter_sha256
        for name, seed in (
            ("a", "training.seed=3"),
            ("b", "training.seed=3"),
            ("c", "training.seed=4"),
        )
    ]
    assert shas[0] == shas[1] != shas[2]


def test_the_curve_starts_before_step_1_and_ends_at_the_last(model_folder, tmp_path):
    seen = []
    trained = _train(model_folder, tmp_path, on_progress=seen.append)
    measured = [p.step for p in trained.curves if p.validation_perplexity is not None]
    assert measured == [0, 4, 8]
    assert trained.steps == 8 and trained.effective_batch == 4
    assert trained.last_perplexity < trained.first_perplexity
    assert seen[-1] == trained.curves
    # The first perplexity is that of the base itself, scored through another code path.
    base = score_documents(
        tiny_qwen(), SPLITS.validation, batch_size=1, window_tokens=64, stride_tokens=32
    )
    assert trained.first_perplexity == pytest.approx(base.perplexity, rel=1e-5)
    first = next(p for p in trained.curves if p.train_loss is not None)
    assert (
        first.learning_rate == 0.01 and first.grad_norm > 0 and first.tokens_per_s > 0
    )


def test_the_saved_adapter_has_the_perplexity_of_the_last_point(model_folder, tmp_path):
    trained = _train(model_folder, tmp_path)
    loaded = load_adapter(tiny_qwen(), tmp_path / "adapter", str(model_folder))
    found = score_documents(
        loaded, SPLITS.validation, batch_size=1, window_tokens=64, stride_tokens=32
    )
    assert found.perplexity == pytest.approx(trained.last_perplexity, rel=1e-5)
    state = json.loads((tmp_path / "adapter" / "trainer_state.json").read_text())
    assert state["global_step"] == state["max_steps"] == 8
    evaluations = [e for e in state["log_history"] if "eval_perplexity" in e]
    assert evaluations[-1]["eval_perplexity"] == trained.last_perplexity
    assert math.exp(evaluations[-1]["eval_loss"]) == pytest.approx(
        trained.last_perplexity
    )


# AdamW divides each gradient by its own size, so rounding of tiny gradients grows with the steps:
# 1e-4 in the losses of four steps. The gradients themselves are compared at 1e-4 in the test of each part.
@pytest.mark.parametrize(
    "part", ["flat_rows", "frozen_head", "fused_norms", "fused_lora", "masters"]
)
def test_each_part_of_the_recipe_trains_the_same_adapter(model_folder, tmp_path, part):
    steps = ("training.max_steps=4", "training.logging_steps=1")
    plain = _train(model_folder, tmp_path / "plain", *steps, recipe=PLAIN)
    fast = _train(
        model_folder, tmp_path / "fast", *steps, recipe=replace(PLAIN, **{part: True})
    )
    for ours, theirs in zip(fast.curves, plain.curves, strict=True):
        if theirs.train_loss is not None:
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-3)
    assert fast.last_perplexity == pytest.approx(plain.last_perplexity, rel=1e-3)


@pytest.mark.parametrize("recipe", [FAST, PLAIN], ids=["fast", "plain"])
def test_accumulating_k_batches_of_b_equals_one_batch_of_kb(
    model_folder, tmp_path, recipe
):
    # Lengths and masks are uneven: a mean of means would differ in the second digit.
    steps = (
        "training.max_steps=4",
        "training.logging_steps=1",
        "training.eval_steps=4",
    )
    whole = _train(
        model_folder, tmp_path / "a", *steps,
        "training.per_device_train_batch_size=6", recipe=recipe,
    )  # fmt: skip
    split = _train(
        model_folder, tmp_path / "b", *steps,
        "training.per_device_train_batch_size=2",
        "training.gradient_accumulation_steps=3", recipe=recipe,
    )  # fmt: skip
    assert whole.effective_batch == split.effective_batch == 6
    for one, many in zip(whole.curves, split.curves, strict=True):
        if one.train_loss is not None:
            assert many.train_loss == pytest.approx(one.train_loss, rel=1e-5)
            assert many.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    a, b = (load_file(tmp_path / n / "adapter" / WEIGHTS_FILE) for n in "ab")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "extra", [(), ("quantization.load_in_4bit=true",)], ids=["whole", "nf4"]
)
def test_gradient_checkpointing_trains_the_same_adapter(model_folder, tmp_path, extra):
    short = ("training.max_steps=4", *extra)
    plain = _train(model_folder, tmp_path / "a", *short)
    checkpointed = _train(
        model_folder, tmp_path / "b", *short, "training.gradient_checkpointing=true"
    )
    assert checkpointed.last_perplexity == pytest.approx(
        plain.last_perplexity, rel=1e-5
    )
    weights = load_file(tmp_path / "b" / "adapter" / WEIGHTS_FILE)
    assert all(t.abs().sum() > 0 for n, t in weights.items() if "lora_B" in n)


class StopAt:
    """Sends SIGTERM to this process at a step, as a vanishing machine does."""

    def __init__(self, step):
        self.step = step

    def __call__(self, curves):
        if curves[-1].step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [2, 5])
def test_a_stopped_run_goes_on_to_the_same_adapter(model_folder, tmp_path, step):
    settings = ("lora.lora_dropout=0.1", "training.logging_steps=1")
    whole = _train(model_folder, tmp_path / "whole", *settings)
    with pytest.raises(Preempted, match=rf"after step {step + 1} of 8") as stopped:
        _train(model_folder, tmp_path / "cut", *settings, on_progress=StopAt(step))
    assert stopped.value.exit_code == 75
    assert not (tmp_path / "cut" / "adapter").exists()
    resumed = _train(model_folder, tmp_path / "cut", *settings)
    assert resumed.adapter_sha256 == whole.adapter_sha256
    assert resumed.first_perplexity == whole.first_perplexity


def test_a_loss_that_is_not_finite_stops_with_its_cause(
    model_folder, tmp_path, monkeypatch
):
    prepare = training._prepare

    def broken(*args):
        prepared = prepare(*args)
        name, parameter = next(
            (n, p) for n, p in prepared.model.named_parameters() if "lora_A" in n
        )
        parameter.data[0, 0] = float("nan")
        return prepared

    monkeypatch.setattr(training, "_prepare", broken)
    with pytest.raises(
        NonFiniteLoss, match=r"adapter weights .* lower training.learning_rate"
    ):
        _train(model_folder, tmp_path)


def test_splits_without_a_token_to_learn_are_refused(model_folder, tmp_path):
    silent = [replace(d, scored=d.scored & False) for d in SPLITS.train]
    with pytest.raises(
        UserError, match="training split has 30 documents and not one token"
    ):
        _train(model_folder, tmp_path, splits=TrainingSplits(silent, SPLITS.validation))


def test_a_batch_that_does_not_fit_is_halved(model_folder, tmp_path, monkeypatch):
    run = training._run

    def full(trainer, *args):
        if trainer.args.per_device_train_batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        run(trainer, *args)

    monkeypatch.setattr(training, "_run", full)
    found = "training.auto_find_batch_size=true"
    trained = _train(model_folder, tmp_path, found)
    assert trained.effective_batch == 4
    assert "batch of 2 fits (2 accumulated)" in trained.notes
    with pytest.raises(torch.OutOfMemoryError):
        _train(model_folder, tmp_path / "b")


@pytest.mark.parametrize("four_bit", ["false", "true"], ids=["whole", "nf4"])
def test_bfloat16_adapters_with_masters_learn_what_float32_learns(
    model_folder, tmp_path, four_bit
):
    settings = (f"quantization.load_in_4bit={four_bit}", "training.logging_steps=1")
    wide = _train(model_folder, tmp_path / "wide", *settings)
    narrow = _train(
        model_folder, tmp_path / "narrow", *settings, "model.torch_dtype=bfloat16"
    )
    weights = load_file(tmp_path / "narrow" / "adapter" / WEIGHTS_FILE)
    assert {t.dtype for t in weights.values()} == {torch.bfloat16}
    assert narrow.last_perplexity == pytest.approx(wide.last_perplexity, rel=0.05)
    with pytest.raises(Preempted):
        _train(
            model_folder, tmp_path / "cut", *settings, "model.torch_dtype=bfloat16",
            on_progress=StopAt(3),
        )  # fmt: skip
    resumed = _train(
        model_folder, tmp_path / "cut", *settings, "model.torch_dtype=bfloat16"
    )
    assert resumed.adapter_sha256 == narrow.adapter_sha256


@pytest.mark.parametrize("kind", ["lora.use_dora=true", "lora.use_rslora=true"])
def test_variants_of_lora_learn_and_load(model_folder, tmp_path, kind):
    trained = _train(model_folder, tmp_path, kind)
    loaded = load_adapter(tiny_qwen(), tmp_path / "adapter", str(model_folder))
    found = score_documents(
        loaded, SPLITS.validation, batch_size=4, window_tokens=64, stride_tokens=32
    )
    assert found.perplexity == pytest.approx(trained.last_perplexity, rel=1e-5)
    assert trained.last_perplexity < trained.first_perplexity
