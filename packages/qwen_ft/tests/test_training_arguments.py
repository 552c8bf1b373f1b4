import pytest

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src.training_arguments import (
    StepPlan,
    build_training_arguments,
    plan_steps,
)
from packages.qwen_ft.tests.tiny_documents import tiny_config


def _training(tmp_path, *overrides):
    return tiny_config(tmp_path, "training.max_steps=-1", *overrides).training


@pytest.mark.parametrize(
    ("rows", "batch", "accumulated", "epochs", "steps"),
    [
        (100, 8, 1, 1.0, 13),
        (100, 8, 2, 3.0, 21),
        (96, 8, 2, 0.5, 3),
        (16, 8, 2, 2.0, 2),
    ],
)
def test_steps_are_rows_over_effective_batch_rounded_up_times_epochs(
    tmp_path, rows, batch, accumulated, epochs, steps
):
    # By hand: 100 / 8 -> 13; 100 / 16 -> 7, times 3; 96 / 16 = 6, half an epoch; 16 / 16 twice.
    settings = _training(
        tmp_path,
        f"training.per_device_train_batch_size={batch}",
        f"training.gradient_accumulation_steps={accumulated}",
        f"training.num_train_epochs={epochs}",
    )
    assert plan_steps(rows, settings) == StepPlan(rows, batch * accumulated, steps)


def test_max_steps_wins_over_epochs(tmp_path):
    assert plan_steps(100, tiny_config(tmp_path).training).steps == 8


def test_fewer_rows_than_a_batch_are_refused(tmp_path):
    with pytest.raises(UserError, match="has 3 documents, one optimizer step takes 4"):
        plan_steps(3, _training(tmp_path))


def test_each_key_reaches_its_argument(tmp_path):
    settings = tiny_config(
        tmp_path,
        "training.warmup_ratio=0.3",
        "training.weight_decay=0.1",
        "training.lr_scheduler_type=linear",
        "training.gradient_checkpointing=true",
        "training.seed=7",
    ).training
    plan = StepPlan(100, 4, 8)
    built = build_training_arguments(settings, plan, tmp_path, on_cpu=True)
    assert built.learning_rate == 0.01
    assert built.warmup_steps == 3  # 0.3 of 8 steps, rounded up
    assert built.weight_decay == 0.1
    assert built.lr_scheduler_type == "linear"
    assert (built.seed, built.data_seed) == (7, 7)
    assert (built.logging_steps, built.eval_steps, built.save_steps) == (2, 4, 4)
    assert built.activation_checkpointing
    assert built.activation_checkpointing_kwargs == {"use_reentrant": False}
    assert not built.logging_nan_inf_filter
