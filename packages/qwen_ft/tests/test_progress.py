import io
import logging
from types import SimpleNamespace

from rich.console import Console

from packages.qwen_ft.src.progress import TrainingProgress


def _walk(progress, steps=4):
    state = SimpleNamespace(global_step=0, max_steps=steps)
    progress.on_train_begin(None, state, None)
    progress.on_log(None, state, None, {"eval_perplexity": 30.0})
    for step in range(1, steps + 1):
        state.global_step = step
        progress.on_step_end(None, state, None)
        progress.on_log(None, state, None, {"loss": 3.0})
    progress.on_log(None, state, None, {"eval_perplexity": 20.0})
    progress.on_train_end(None, state, None)


def test_a_log_gets_one_plain_line_per_evaluation(caplog):
    text = io.StringIO()
    with caplog.at_level(logging.INFO, logger="packages.qwen_ft.src.progress"):
        _walk(TrainingProgress(Console(file=text)))
    assert text.getvalue() == ""
    assert caplog.messages == [
        "step 0/4: validation perplexity 30.000",
        "step 4/4: loss 3.000, validation perplexity 20.000",
    ]


def test_a_terminal_gets_a_bar_with_the_numbers(caplog):
    text = io.StringIO()
    _walk(TrainingProgress(Console(file=text, force_terminal=True, width=120)))
    assert "4/4" in text.getvalue() and "perplexity 20.000" in text.getvalue()
    assert caplog.messages == []
