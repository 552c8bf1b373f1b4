"""Errors say everything, survive a process boundary, and carry their exit code."""

import pickle

import pytest

from packages.cloud.src.exit_codes import (
    EX_CANTCREAT,
    EX_DATAERR,
    EX_NOINPUT,
    UserError,
)
from packages.model_registry.src import refusals


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (refusals.VersionExists, EX_CANTCREAT),
        (refusals.VersionMissing, EX_NOINPUT),
        (refusals.AliasMissing, EX_NOINPUT),
        (refusals.VersionYanked, EX_DATAERR),
        (refusals.RegistryDamaged, EX_DATAERR),
        (refusals.ManifestRefused, EX_DATAERR),
        (refusals.LoadRefused, EX_DATAERR),
    ],
)
def test_a_refusal_survives_a_pickle(kind: type[UserError], exit_code: int) -> None:
    error = pickle.loads(pickle.dumps(kind("why")))  # type: ignore[call-arg]
    assert type(error) is kind
    assert (error.message, error.exit_code) == ("why", exit_code)


def test_a_long_list_is_cut_and_counted() -> None:
    text = refusals.listed("Problems:", [f"problem {n}" for n in range(1025)])
    assert text.splitlines()[:2] == ["Problems:", "  problem 0"]
    assert text.splitlines()[-1] == "  ... and 1,005 more"
    assert len(text.splitlines()) == 22
    assert refusals.listed("Problems:", ["one"]) == "Problems:\n  one"
