"""The starter corpus is large, repeatable, and made of the interpreter's own documentation."""

import builtins
import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import packages
from packages.chat_data.src.document import document_key
from packages.chat_data.src.starter_corpus import (
    MAX_ANSWER_CHARACTERS,
    DocumentedObject,
    question,
    standard_library_sources,
    starter_documents,
    summary,
)

REPOSITORY = Path(packages.__file__).parents[1]
HASH_SCRIPT = """
import hashlib
from packages.chat_data.src.starter_corpus import starter_documents
print(hashlib.sha256(repr(list(starter_documents())).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def documents():
    return list(starter_documents())


def test_there_are_thousands_of_documents(documents):
    # 5,399 on CPython 3.11.7; other versions and builds differ by some hundred.
    assert len(documents) > 4000


def test_every_document_is_one_question_and_one_answer(documents):
    assert {
        tuple(message.role for message in document.messages) for document in documents
    } == {("user", "assistant")}


def test_no_question_and_no_answer_appears_twice(documents):
    assert len({document_key(document) for document in documents}) == len(documents)
    assert len({document.messages[0].content for document in documents}) == len(
        documents
    )
    assert len(
        {document.messages[1].content.casefold() for document in documents}
    ) == len(documents)


def test_documents_come_in_the_order_of_their_names(documents):
    names = [document.where for document in documents]
    assert names == sorted(names)


def test_answers_are_short_lines_of_words(documents):
    answers = [document.messages[1].content for document in documents]
    assert max(map(len, answers)) <= MAX_ANSWER_CHARACTERS
    assert not [answer for answer in answers if "\n" in answer or ">>>" in answer]


def test_known_objects_are_asked_about(documents):
    by_name = {document.where: document.messages for document in documents}
    # From Lib/json/__init__.py and Objects/listobject.c; the same text in CPython 3.8 to 3.13.
    assert (
        by_name["json.dumps"][1].content
        == "Serialize ``obj`` to a JSON formatted ``str``."
    )
    assert by_name["list.append"][0].content == "What does list.append(object) do?"
    assert by_name["list.append"][1].content == "Append object to the end of the list."


def test_another_hash_seed_and_home_give_the_same_documents(documents, tmp_path):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
    }
    other = subprocess.run(
        [sys.executable, "-c", HASH_SCRIPT],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(repr(documents).encode()).hexdigest()


def test_no_document_holds_a_path_of_this_machine(documents):
    prefix = sysconfig.get_path("stdlib")
    assert not [
        document.where for document in documents if prefix in repr(document.messages)
    ]


def test_nothing_comes_from_installed_packages(documents):
    assert not [
        path for _, path in standard_library_sources() if "site-packages" in path.parts
    ]
    roots = {document.where.split(".")[0] for document in documents}
    assert roots <= sys.stdlib_module_names | set(vars(builtins))


def test_modules_with_side_effects_are_left_alone():
    roots = {name.split(".")[0] for name, _ in standard_library_sources()}
    assert roots.isdisjoint(
        {"antigravity", "this", "idlelib", "lib2to3", "test", "turtledemo"}
    )


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        pytest.param("Return the sum.\n\nMore below.", "", id="too few words in both"),
        pytest.param(
            "Return the sum of all.\n\nMore text stands below it.",
            "Return the sum of all.",
            id="paragraph",
        ),
        pytest.param(
            "Return the sum\n  of all items.",
            "Return the sum of all items.",
            id="lines are joined",
        ),
        pytest.param(
            "max(iterable) -> value\n\nReturn the biggest item here.",
            "Return the biggest item here.",
            id="signature",
        ),
        pytest.param(
            "D.keys() -> a set-like object of keys",
            "a set-like object of keys",
            id="prose behind the arrow",
        ),
        pytest.param(">>> add(1, 2) + add(3, 4)", "", id="doctest"),
        pytest.param(
            "First it does this. " + "Then it goes on " * 40,
            "First it does this.",
            id="whole sentences",
        ),
        pytest.param("", "", id="empty"),
    ],
)
def test_summary_is_the_first_prose(docstring, expected):
    assert summary(docstring) == expected


@pytest.mark.parametrize(
    ("kind", "signature", "expected"),
    [
        ("function", "(obj, *, indent)", "What does m.f(obj, *, indent) do?"),
        ("class", "", "What is m.f?"),
        ("property", "", "What is m.f?"),
    ],
)
def test_question_is_worded_by_kind(kind, signature, expected):
    assert question(DocumentedObject("m.f", kind, signature, "")) == expected


def test_missing_sources_are_reported_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(Exception, match="set data.source to a file"):
        standard_library_sources()
