"""The choice among trials."""

from types import SimpleNamespace

from packages.qwen_ft.src.trial import best_trial


def trained(perplexity):
    return SimpleNamespace(last_perplexity=perplexity)


def test_the_lowest_validation_perplexity_wins():
    trials = [trained(3.0), trained(2.0), trained(2.5)]

    assert best_trial(trials) is trials[1]


def test_of_equal_trials_the_first_wins():
    trials = [trained(2.0), trained(2.0)]

    assert best_trial(trials) is trials[0]
