import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.document import Document, document_key
from packages.chat_data.src.problems import BadData
from packages.chat_data.src.split import (
    LEFT_OUT,
    SplitOptions,
    assign_sides,
    split_documents,
    split_key,
)


def texts(count):
    return [Document((), f"text {number}", f"a:{number}") for number in range(count)]


def keys(documents):
    import numpy as np

    return np.frombuffer(
        b"".join(split_key(one) for one in documents), np.uint8
    ).reshape(-1, 16)


def test_sizes_are_the_shares_rounded():
    # 0.1 of 1,005 is 100.5, which rounds up; 0.05 gives 50.25.
    split = split_documents(
        texts(1_005), validation_share=0.1, hold_out_share=0.05, seed=1
    )
    assert (len(split.validation), len(split.hold_out), len(split.train)) == (
        101,
        50,
        854,
    )


def test_the_same_seed_gives_the_same_sides_and_another_seed_others():
    sides = [
        [one.where for one in split_documents(texts(500), 0.1, 0.1, seed).hold_out]
        for seed in (1, 1, 2)
    ]
    assert sides[0] == sides[1] != sides[2]


def test_sides_do_not_depend_on_the_order_of_the_source():
    forward, backward = (
        split_documents(documents, 0.1, 0.1, 7)
        for documents in (texts(300), texts(300)[::-1])
    )
    assert {one.text for one in forward.hold_out} == {
        one.text for one in backward.hold_out
    }


def test_a_larger_validation_share_leaves_the_hold_out_as_it_was():
    assert (
        split_documents(texts(300), 0.1, 0.1, 7).hold_out
        == split_documents(texts(300), 0.3, 0.1, 7).hold_out
    )


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    copies=st.lists(
        st.sampled_from(["text {}", "TEXT {}", " text  {}\n"]), min_size=1, max_size=4
    ),
    count=st.integers(20, 60),
    seed=st.integers(0, 2**63),
)
def test_every_distinct_document_is_on_exactly_one_side(copies, count, seed):
    documents = [
        Document((), form.format(n), f"{i}:{n}")
        for i, form in enumerate(copies)
        for n in range(count)
    ]
    split = split_documents(documents, 0.2, 0.2, seed)
    sides = [
        {document_key(one) for one in side}
        for side in (split.train, split.validation, split.hold_out)
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == count
    assert split.duplicates_dropped == len(documents) - count
    assert all(
        one.where.startswith("0:") for one in split.train
    ), "the first of equal documents is kept"


def test_a_sample_is_taken_before_the_split():
    options = SplitOptions(0.1, 0.1, 3, max_documents=100)
    sides = assign_sides(keys(texts(1_000)), options)
    assert [int((sides == side).sum()) for side in (0, 1, 2, LEFT_OUT)] == [
        80,
        10,
        10,
        900,
    ]


@pytest.mark.parametrize(
    ("count", "validation", "hold_out", "code"),
    [
        (4, 0.1, 0.3, "FT-D091"),
        (4, 0.3, 0.1, "FT-D091"),
        (2, 0.5, 0.5, "FT-D090"),
        (0, 0.1, 0.1, "FT-D091"),
    ],
    ids=["no validation", "no hold-out", "no training", "nothing"],
)
def test_an_empty_side_stops_the_run(count, validation, hold_out, code):
    with pytest.raises(BadData, match=code):
        split_documents(texts(count), validation, hold_out, 0)


def test_fewer_training_documents_than_a_batch():
    with pytest.raises(
        BadData, match="FT-D090 data  6 training documents, fewer than one batch of 8"
    ):
        assign_sides(
            keys(texts(10)), SplitOptions(0.2, 0.2, 0, min_train_documents=8), "data"
        )


def test_nearly_nothing_but_duplicates():
    with pytest.raises(BadData, match="FT-D093 .*99 of 100 documents are duplicates"):
        split_documents(
            [Document((), "same", f"a:{n}") for n in range(100)], 0.1, 0.1, 0
        )
