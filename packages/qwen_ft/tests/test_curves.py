from types import SimpleNamespace

from packages.qwen_ft.src.curves import CurveRecorder
from packages.qwen_ft.src.trained_adapter import CurvePoint


def _at(step, history=()):
    return SimpleNamespace(global_step=step, log_history=list(history))


def test_loss_and_perplexity_of_one_step_are_one_point():
    seen = []
    recorder = CurveRecorder(seen.append)
    recorder.on_log(None, _at(0), None, {"eval_perplexity": 9.0})
    recorder.on_log(
        None, _at(2), None, {"loss": 1.5, "learning_rate": 0.1, "grad_norm": 0.5}
    )
    recorder.on_log(None, _at(2), None, {"eval_perplexity": 8.0})
    recorder.on_log(None, _at(2), None, {"train_runtime": 3.0})
    assert recorder.curves == (
        CurvePoint(0, validation_perplexity=9.0),
        CurvePoint(2, 1.5, 8.0, 0.1, 0.5),
    )
    assert len(seen) == 3 and seen[-1] == recorder.curves


def test_a_resumed_run_keeps_the_points_before_it():
    recorder = CurveRecorder()
    history = [{"step": 0, "eval_perplexity": 9.0}, {"step": 1, "loss": 2.0}]
    recorder.on_train_begin(None, _at(1, history), None)
    assert [point.step for point in recorder.curves] == [0, 1]


def test_speed_is_tokens_over_the_time_of_steps(monkeypatch):
    clock = iter([10.0, 12.0])  # one step of two seconds
    monkeypatch.setattr(
        "packages.qwen_ft.src.curves.time",
        SimpleNamespace(perf_counter=lambda: next(clock)),
    )
    recorder = CurveRecorder()
    recorder.trainer = SimpleNamespace(tokens_seen=600)
    recorder.on_step_begin(None, _at(0), None)
    recorder.on_step_end(None, _at(1), None)
    recorder.on_log(None, _at(1), None, {"loss": 1.0})
    assert recorder.curves[0].tokens_per_s == 300.0
