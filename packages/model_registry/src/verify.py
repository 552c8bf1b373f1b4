"""Read every byte of a model and say what is not as it was committed."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.object_store import ObjectMissing, ObjectStore, sha256_of_file
from packages.model_registry.src.layout import (
    alias_key,
    blob_folder,
    blob_key,
    checked_name,
    copy_key,
    is_label,
    listed_aliases,
    listed_labels,
    manifest_key,
    yank_key,
)
from packages.model_registry.src.manifest import Manifest
from packages.model_registry.src.read import read_alias, read_manifest, read_yank
from packages.model_registry.src.refusals import (
    ManifestRefused,
    RegistryDamaged,
    VersionMissing,
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `repairable`: `repair` can put it right as long as another good copy exists."""

    key: str
    problem: str
    repairable: bool


def verify(
    store: ObjectStore, model: str, version: str | None = None
) -> tuple[Finding, ...]:
    """Check one version, or every version, alias, yank and blob of a model. Empty means that all is well."""
    checked_name(model)
    listed = sorted(listed_labels(store, model)) if version is None else [version]
    labels = [str(label) for label in listed]
    findings: list[Finding] = []
    referenced: set[str] = set()
    for label in labels:
        try:
            manifest = read_manifest(store, model, label)
        except ManifestRefused as error:
            findings.append(Finding(manifest_key(model, label), error.message, False))
            continue
        findings += _file_findings(store, manifest)
        findings += _yank_findings(store, model, label)
        referenced |= {file.sha256 for file in manifest.files}
    if version is None:
        findings += _alias_findings(store, model)
        findings += _uncommitted(store, model, set(labels))
        findings += _unused_blobs(store, model, referenced)
    return tuple(dict.fromkeys(findings))


def _file_findings(store: ObjectStore, manifest: Manifest) -> Iterator[Finding]:
    model, version = manifest.model, manifest.version
    expected = {manifest_key(model, version), yank_key(model, version)}
    for file in manifest.files:
        copy = copy_key(model, version, file.path)
        expected.add(copy)
        for key in (blob_key(model, file.sha256), copy):
            found = sha256_of_object(store, key)
            if found is None:
                yield Finding(key, f"missing; {file.path} of {version}", True)
            elif found != file.sha256:
                problem = f"SHA-256 {found}, expected {file.sha256}"
                yield Finding(key, f"{problem} ({file.path} of {version})", True)
    for row in store.list(f"{model}/{version}/"):
        if row.key not in expected:
            yield Finding(row.key, "not listed in the manifest; never loaded", False)


def _yank_findings(store: ObjectStore, model: str, version: str) -> Iterator[Finding]:
    try:
        read_yank(store, model, version)
    except RegistryDamaged as error:
        yield Finding(yank_key(model, version), error.message, False)


def _alias_findings(store: ObjectStore, model: str) -> Iterator[Finding]:
    for alias in listed_aliases(store, model):
        key = alias_key(model, alias)
        try:
            record, _ = read_alias(store, model, alias)
            manifest = read_manifest(store, model, record.version)
        except VersionMissing:
            yield Finding(key, f"leads to {record.version}, which is missing", False)
        except UserError as error:
            yield Finding(key, error.message, False)
        else:
            if manifest.sha256 != record.manifest_sha256:
                problem = (
                    f"set to manifest {record.manifest_sha256} of {record.version}, "
                    f"which has {manifest.sha256} now"
                )
                yield Finding(key, problem, False)


def _uncommitted(
    store: ObjectStore, model: str, committed: set[str]
) -> Iterator[Finding]:
    for row in store.list(f"{model}/v"):
        version = row.key.split("/")[1]
        if version not in committed and is_label(version):
            yield Finding(row.key, f"{version} has no manifest; never loaded", False)


def _unused_blobs(
    store: ObjectStore, model: str, referenced: set[str]
) -> Iterator[Finding]:
    """Damaged blobs that no version names; sound ones are merely garbage."""
    for row in store.list(blob_folder(model) + "/"):
        sha256 = row.key.rpartition("/")[2]
        if sha256 not in referenced:
            found = sha256_of_object(store, row.key)
            if found not in (None, sha256):
                problem = f"SHA-256 {found}; no version uses it, `gc` removes it"
                yield Finding(row.key, problem, False)


def referenced_blobs(store: ObjectStore, model: str) -> set[str]:
    """SHA-256 of every file that a manifest of the model names.

    Raises:
        ManifestRefused: a manifest cannot be read, so nobody knows what it names.
    """
    return {
        file.sha256
        for label in listed_labels(store, model)
        for file in read_manifest(store, model, str(label)).files
    }


def sha256_of_object(store: ObjectStore, key: str) -> str | None:
    """Hash of the stored bytes, read in full; None if there is no such object."""
    try:
        path = store.local_path(key)
        if path is not None:
            return sha256_of_file(path)
        if store.stat(key).size_bytes <= 2**20:
            return hashlib.sha256(store.read(key)).hexdigest()
        with tempfile.TemporaryDirectory() as folder:
            store.download(key, Path(folder, "object"))
            return sha256_of_file(Path(folder, "object"))
    except ObjectMissing:
        return None
