import threading

import pytest

from packages.local_aws.src.metadata_store import MetadataStore


def test_it_is_there_after_a_restart(tmp_path):
    store = MetadataStore(tmp_path / "metadata.sqlite")
    store.create("run", "F", str(store.next_number("run")), {"tags": ["a"]})
    store.close()

    again = MetadataStore(tmp_path / "metadata.sqlite")

    assert again.get("run", "F", "1") == {"tags": ["a"]}
    assert again.next_number("run") == 2
    again.close()


def test_many_threads_get_different_numbers_and_lose_no_tag():
    store = MetadataStore()
    store.create("run", "F", "1", {"tags": [], "system_tags": []})
    numbers = []

    def work(name):
        numbers.append(store.next_number("task"))
        store.change_tags("F", "1", [f"tag{name}"], [])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers) == list(range(1, 33))
    assert len(store.get("run", "F", "1")["tags"]) == 32


def test_a_record_is_written_once():
    store = MetadataStore()

    assert store.create("flow", "", "F", {"x": 1})
    assert not store.create("flow", "", "F", {"x": 2})
    assert store.get("flow", "", "F") == {"x": 1}


def test_tags_of_a_run_that_is_not_there():
    assert MetadataStore().change_tags("F", "1", ["a"], []) is None


def test_a_system_tag_cannot_be_removed():
    store = MetadataStore()
    store.create("run", "F", "1", {"tags": ["a"], "system_tags": ["s"]})

    with pytest.raises(ValueError, match="system tags s"):
        store.change_tags("F", "1", ["b"], ["s"])
    assert store.get("run", "F", "1")["tags"] == ["a"]
