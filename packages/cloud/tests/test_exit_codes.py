"""UserError carries its exit code across process borders."""

import pickle

import pytest

from packages.cloud.src.exit_codes import EX_NOINPUT, UserError


def test_a_user_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UserError("no such file: a.txt", EX_NOINPUT)))

    assert (error.message, error.exit_code) == ("no such file: a.txt", 66)


def test_a_user_error_reads_as_its_message():
    with pytest.raises(UserError, match="^no such file: a.txt$"):
        raise UserError("no such file: a.txt", EX_NOINPUT)
