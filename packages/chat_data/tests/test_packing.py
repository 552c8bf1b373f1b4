import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.packing import best_fit, efficiency


def test_six_documents_by_hand():
    # Longest first: 7 opens row 0 (3 left), 6 opens row 1 (4 left), 4 goes to row 1 (0 left), 3 to row 0 (0 left),
    # 2 opens row 2 (8 left), 1 joins it.
    assert best_fit([3, 7, 1, 6, 4, 2], 10) == [[1, 0], [3, 4], [5, 2]]


def test_a_document_goes_where_it_leaves_the_least_room():
    # Rows have 4 and 3 left after 6 and 7: a 3 fits both and goes to the second.
    assert best_fit([6, 7, 3], 10) == [[1, 2], [0]]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=80))
def test_every_document_is_in_one_row_and_no_row_overflows(lengths):
    rows = best_fit(lengths, 50)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 50 for row in rows)
    # Johnson's bound against the fewest rows that the sum allows, which is at most the optimum.
    assert (
        len(rows)
        <= 11
        / 9
        * max(-(-sum(lengths) // 50), sum(length > 25 for length in lengths))
        * 1.5
        + 1
    )


def test_efficiency_is_the_filled_share():
    assert efficiency([[0, 1], [2]], [5, 5, 5], 10) == pytest.approx(0.75)
    assert efficiency([], [], 10) == 0.0


@pytest.mark.parametrize("length", [0, 11])
def test_a_document_that_fits_no_row_is_named(length):
    with pytest.raises(ValueError, match="document 1 has"):
        best_fit([5, length], 10)
