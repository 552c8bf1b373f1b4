"""Names, labels and keys."""

import pytest

from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.memory_store import MemoryStore
from packages.model_registry.src import layout
from packages.model_registry.src.layout import Label


def test_keys_are_those_of_the_specification() -> None:
    assert layout.manifest_key("m", "v1.0") == "m/v1.0/manifest.json"
    assert layout.yank_key("m", "v1.0") == "m/v1.0/yanked.json"
    assert layout.copy_key("m", "v1.0", "a.json") == "m/v1.0/a.json"
    assert layout.blob_key("m", "ab") == "m/_blobs/sha256/ab"
    assert layout.alias_key("m", "production") == "m/_aliases/production.json"


def test_labels_are_ordered_as_numbers() -> None:
    texts = ["v1.10", "v10.0", "v1.9", "v2.0", "v1.0"]
    ordered = [str(label) for label in sorted(map(layout.parsed_label, texts))]
    assert ordered == ["v1.0", "v1.9", "v1.10", "v2.0", "v10.0"]


def test_a_label_is_no_name_and_a_name_no_label() -> None:
    assert layout.is_label("v1.0")
    assert not layout.is_label("production")
    assert layout.checked_name("v1", "alias") == "v1"
    for text in ("v1.0", "", "Production", "a/b", ".hidden", "_blobs"):
        with pytest.raises(UserError, match="is no name for an alias"):
            layout.checked_name(text, "alias")


def test_only_manifests_make_a_label_listed() -> None:
    store = MemoryStore()
    for key in (
        "m/v1.0/manifest.json",
        "m/v1.1/README.md",
        "m/v1.2/deeper/manifest.json",
        "m/v01.0/manifest.json",
        "m/vx/manifest.json",
        "m2/v3.0/manifest.json",
    ):
        store.create(key, b"")
    assert list(layout.listed_labels(store, "m")) == [Label(1, 0)]


def test_only_names_are_listed_as_aliases() -> None:
    store = MemoryStore()
    store.create("m/_aliases/production.json", b"")
    store.create("m/_aliases/Bad Name.json", b"")
    assert list(layout.listed_aliases(store, "m")) == ["production"]
