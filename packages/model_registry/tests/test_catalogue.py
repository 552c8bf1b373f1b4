"""Lists, details, differences and table rows."""

from datetime import timedelta
from pathlib import Path

import pytest

from packages.cloud.src.memory_store import FIRST_WRITE, MemoryStore
from packages.cloud.src.object_store import ObjectStore
from packages.model_registry.src.aliases import promote
from packages.model_registry.src.canonical_json import json_sha256
from packages.model_registry.src.catalogue import (
    Difference,
    diff,
    list_models,
    list_versions,
    show,
    table_rows,
)
from packages.model_registry.src.register import register
from packages.model_registry.src.yank import yank
from packages.model_registry.tests.adapters import MODEL, adapter_files, meta


def fill(store: ObjectStore, folder: Path) -> ObjectStore:
    register(store, MODEL, adapter_files(folder / "1", 1.0), meta("F/1"))
    config = {"lora": {"r": 8}, "data": {"source": "x"}}
    about = meta(
        "F/2",
        config=config,
        config_sha256=json_sha256(config),
        metrics={"perplexity": 7.5},
    )
    register(store, MODEL, adapter_files(folder / "2", 2.0), about)
    promote(store, MODEL, "v1.1")
    promote(store, MODEL, "v1.1", "staging")
    yank(store, MODEL, "v1.0", "old")
    return store


def test_every_version_is_listed_with_what_leads_to_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    fill(store, tmp_path)
    register(store, "another", adapter_files(tmp_path / "3"), meta())
    assert list_models(store) == ("another", MODEL)
    versions = list_versions(store, MODEL)
    assert [v.version for v in versions] == ["v1.0", "v1.1"]
    assert [v.aliases for v in versions] == [(), ("production", "staging")]
    assert [bool(v.yanked) for v in versions] == [True, False]
    assert versions[1].uri == f"{store.uri}/{MODEL}/v1.1"
    assert show(store, MODEL, "production") == versions[1]
    assert show(store, MODEL, "v1.0") == versions[0]


def test_the_time_of_a_version_is_that_of_its_manifest(tmp_path: Path) -> None:
    store = MemoryStore()
    register(store, MODEL, adapter_files(tmp_path), meta())
    # Two blobs are written first, so the manifest is the third write.
    assert show(store, MODEL, "v1.0").created_at == FIRST_WRITE + timedelta(seconds=3)


def test_a_difference_names_each_leaf(tmp_path: Path) -> None:
    store = fill(MemoryStore(), tmp_path)
    found = diff(store, MODEL, "v1.0", "production")
    fields = {row.field for row in found}
    assert Difference("lineage.run", "F/1", "F/2") in found
    assert Difference("lineage.metrics.perplexity", "8.25", "7.5") in found
    assert Difference("lineage.metrics.base_perplexity", "12.5", "(none)") in found
    assert Difference("lineage.config.lora.r", "(none)", "8") in found
    assert "files[adapter_model.safetensors].sha256" in fields
    assert "files[adapter_config.json].sha256" not in fields
    assert "lineage.data_sha256" not in fields
    assert diff(store, MODEL, "v1.1", "v1.1") == ()


def test_table_rows_are_text_newest_first(tmp_path: Path) -> None:
    store = fill(MemoryStore(), tmp_path)
    rows = table_rows(list_versions(store, MODEL), ["perplexity"])
    assert [row["version"] for row in rows] == ["v1.1", "v1.0"]
    assert rows[0] == {
        "version": "v1.1",
        "aliases": "production, staging",
        "state": "",
        "created": "2026-01-01 00:00",
        "run": "F/2",
        "base model": "Qwen/Qwen2.5-0.5B@0123456",
        "data": "ddddddd",
        "size": "0.0 MiB",
        "perplexity": "7.5",
    }
    assert rows[1]["state"] == "yanked"
    assert len({tuple(row) for row in rows}) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_few_versions_make_few_rows(count: int, tmp_path: Path) -> None:
    store = MemoryStore()
    if count:
        register(store, MODEL, adapter_files(tmp_path), meta())
    rows = table_rows(list_versions(store, MODEL))
    assert [row["base_perplexity"] for row in rows] == ["12.5"] * count
    assert list_models(store) == (MODEL,) * count
