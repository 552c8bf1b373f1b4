import os
import signal
from types import SimpleNamespace

from packages.qwen_ft.src.preemption import StopAtStepBoundary


def _end_of_step(stop, step):
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    state = SimpleNamespace(global_step=step, max_steps=8)
    stop.on_step_end(None, state, control)
    return control.should_save, control.should_training_stop


def test_the_signal_is_acted_on_at_the_end_of_the_step():
    with StopAtStepBoundary() as stop:
        assert _end_of_step(stop, 3) == (False, False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert _end_of_step(stop, 4) == (True, True)
        # After the last step there is nothing left to stop.
        assert _end_of_step(stop, 8) == (False, False)


def test_the_former_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopAtStepBoundary():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
