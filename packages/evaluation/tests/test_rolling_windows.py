import pytest

from packages.evaluation.src.rolling_windows import Window, rolling_windows


def test_seven_tokens_by_hand():
    # Window 4, stride 2: tokens 1-3 in the first window, then two new tokens per window, each
    # window as long as fits; token 6 is alone in the last, which is full.
    assert rolling_windows(7, 4, 2) == (
        Window(0, 4, 1),
        Window(2, 6, 4),
        Window(3, 7, 6),
    )


@pytest.mark.parametrize("window", [2, 3, 5, 8])
@pytest.mark.parametrize("stride", [1, 2, 5, 8])
def test_each_token_is_scored_exactly_once(window, stride):
    for n_tokens in range(0, 30):
        plan = rolling_windows(n_tokens, window, min(stride, window))
        scored = [t for w in plan for t in range(w.first_scored, w.end)]
        assert scored == list(range(1, n_tokens))


def test_context_is_never_shorter_than_window_minus_stride():
    for n_tokens in range(2, 40):
        for window in plan_after_first(rolling_windows(n_tokens, 8, 3)):
            assert window.first_scored - window.begin >= 8 - 3
            assert window.end - window.begin == 8


def plan_after_first(plan):
    return plan[1:]


def test_a_document_that_fits_is_one_window():
    assert rolling_windows(5, 5, 2) == (Window(0, 5, 1),)


def test_a_stride_of_a_whole_window_keeps_one_token_of_context():
    assert all(w.first_scored > w.begin for w in rolling_windows(20, 4, 4))


def test_a_single_token_has_nothing_to_score():
    assert rolling_windows(1, 4, 2) == ()


def test_impossible_windows_are_refused():
    with pytest.raises(ValueError, match="window_tokens is 1"):
        rolling_windows(3, 1, 1)
    with pytest.raises(ValueError, match="stride_tokens is 0"):
        rolling_windows(3, 4, 0)
