"""Commit a new version: blobs first, the manifest last, plain copies after it.

The manifest is created, never overwritten: whoever creates it owns the label for ever, and a version exists for
readers from that moment on, whole. A crash before leaves blobs that nothing names; a crash after leaves copies to make,
which the next `register` of the same run or `repair` makes. Registering the same run again is a success.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packages.cloud.src.folder_store import write_refusals_explained
from packages.cloud.src.object_store import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    sha256_of_file,
)
from packages.model_registry.src.layout import (
    Label,
    blob_key,
    checked_name,
    copy_key,
    listed_labels,
    manifest_key,
    parsed_label,
    version_folder,
)
from packages.model_registry.src.load_guard import content_problems
from packages.model_registry.src.manifest import (
    Lineage,
    Manifest,
    ManifestFile,
    file_name_problems,
    lineage_from,
)
from packages.model_registry.src.read import read_manifest
from packages.model_registry.src.refusals import (
    LoadRefused,
    ManifestRefused,
    RegistryDamaged,
    VersionExists,
    VersionMissing,
    listed,
)

log = logging.getLogger(__name__)
FIRST = Label(1, 0)


@dataclass(frozen=True)
class RegisteredVersion:
    """What a registration came to. `uri` is the folder of the plain copies."""

    model: str
    version: str
    manifest_sha256: str
    uri: str


def register(
    store: ObjectStore,
    model: str,
    files: Mapping[str, Path],
    meta: Mapping[str, Any],
    version: str | None = None,
) -> RegisteredVersion:
    """Make an adapter a version that can be resolved, fetched and promoted.

    Args:
        files: name in the version -> local file. The names are on the allow-list of the manifest.
        meta: the fields of `Lineage`.
        version: the label. By default the next: minor for a new run on the same base model, tokenizer and template;
            major for another.

    Raises:
        ManifestRefused: a field of the lineage is missing or wrong.
        LoadRefused: the files are not an adapter that could be loaded.
        VersionExists: `version` is taken by something else; the message names the run that wrote it.
        RegistryDamaged: other bytes lie under the hash of a file.
    """
    checked_name(model)
    label = FIRST if version is None else parsed_label(version)
    lineage = lineage_from(meta)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = _snapshot(files, folder)
        problems = content_problems(folder, lineage.base_model)
        if problems:
            heading = f"{model}: these files cannot be registered:"
            raise LoadRefused(
                listed(heading, problems) + "\nCorrect the training output and retry."
            )
        manifest = Manifest(
            schema_version=1,
            model=model,
            version=str(label),
            files=entries,
            lineage=lineage,
        )
        if version is None:
            manifest = _commit_next(store, manifest, folder)
        else:
            commit(store, manifest, folder)
    log.info("registered %s %s", model, manifest.version)
    place = f"{store.uri}/{version_folder(model, manifest.version)}"
    return RegisteredVersion(model, manifest.version, manifest.sha256, place)


def commit(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    """The protocol for one label. `folder` holds the files of the manifest. Raises VersionExists."""
    _put_blobs(store, manifest, folder)
    try:
        _claim(store, manifest)
    except ObjectExists as error:
        winner = read_manifest(store, manifest.model, manifest.version)
        raise VersionExists(
            f"{manifest.model} {manifest.version} exists in {store.uri}, written by run {winner.lineage.run}. "
            "Versions are never overwritten: leave the version out to get the next one, or train again."
        ) from error
    _finish(store, manifest, folder)


def next_label(known: Mapping[Label, Manifest | None], lineage: Lineage) -> Label:
    """Where a run belongs: the next minor of the newest major with its base, or the next major.

    Args:
        known: what is registered; None where a manifest cannot be read, which still takes its label.
    """
    identity = lineage.base_identity
    majors = {
        label.major
        for label, manifest in known.items()
        if manifest is not None and manifest.lineage.base_identity == identity
    }
    if majors:
        major = max(majors)
        return Label(major, 1 + max(x.minor for x in known if x.major == major))
    return Label(1 + max(label.major for label in known), 0) if known else FIRST


def put_plain_copy(
    store: ObjectStore, manifest: Manifest, file: ManifestFile, path: Path
) -> None:
    """Make the copy of a file in the version's folder right, whatever was there."""
    key = copy_key(manifest.model, manifest.version, file.path)
    try:
        store.create_from_file(key, path)
    except ObjectExists:
        log.warning("%s/%s held other bytes and is replaced", store.uri, key)
        with suppress(ObjectChanged, ObjectMissing):  # another repair is at it
            store.replace(key, path.read_bytes(), store.stat(key).etag)


def put_blob_of_file(
    store: ObjectStore, model: str, file: ManifestFile, path: Path
) -> None:
    """Store a file under its hash; there already is fine. Raises RegistryDamaged if other bytes are."""
    try:
        store.create_from_file(blob_key(model, file.sha256), path)
    except ObjectExists as error:
        raise RegistryDamaged(
            f"{store.uri}/{blob_key(model, file.sha256)} is damaged: it holds other bytes than its name says "
            f"({file.path}, {file.size_bytes:,} bytes). Run `registry repair {model}`, then register again."
        ) from error


def _commit_next(store: ObjectStore, manifest: Manifest, folder: Path) -> Manifest:
    """Try label after label. The listing is only a hint: the create-only write of the manifest decides."""
    known = {
        label: _readable(store, manifest.model, label)
        for label in listed_labels(store, manifest.model)
    }
    _put_blobs(store, manifest, folder)
    while True:
        same = [label for label, found in known.items() if _same(found, manifest)]
        label = same[0] if same else next_label(known, manifest.lineage)
        attempt = manifest.model_copy(update={"version": str(label)})
        try:
            _claim(store, attempt)
        except ObjectExists:
            known[label] = _readable(store, manifest.model, label)
            continue
        _finish(store, attempt, folder)
        return attempt


def _put_blobs(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    for file in manifest.files:
        put_blob_of_file(store, manifest.model, file, folder / file.path)


def _claim(store: ObjectStore, manifest: Manifest) -> None:
    """The commit point. Raises ObjectExists if the label belongs to somebody else."""
    key = manifest_key(manifest.model, manifest.version)
    store.create(key, manifest.to_bytes())


def _finish(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    for file in manifest.files:
        put_plain_copy(store, manifest, file, folder / file.path)
    # A garbage collection that had listed the manifests before ours was there may have taken a blob since.
    for file in manifest.files:
        if not store.exists(blob_key(manifest.model, file.sha256)):
            put_blob_of_file(store, manifest.model, file, folder / file.path)


def _same(found: Manifest | None, manifest: Manifest) -> bool:
    return found is not None and (
        (found.files, found.lineage) == (manifest.files, manifest.lineage)
    )


def _readable(store: ObjectStore, model: str, label: Label) -> Manifest | None:
    try:
        return read_manifest(store, model, str(label))
    except (ManifestRefused, VersionMissing) as error:
        log.warning("%s", error)
        return None


def _snapshot(files: Mapping[str, Path], folder: Path) -> tuple[ManifestFile, ...]:
    """Private copies, so that what was checked is what is stored even if the originals change meanwhile."""
    problems = file_name_problems(sorted(files))
    problems += [
        f"{path} is no file" for _, path in sorted(files.items()) if not path.is_file()
    ]
    if problems:
        raise LoadRefused(listed("These files cannot be registered:", problems))
    entries = []
    for name, path in sorted(files.items()):
        copy = folder / name
        with write_refusals_explained(copy):
            shutil.copyfile(path, copy)
        sha256 = sha256_of_file(copy)
        size_bytes = copy.stat().st_size
        entries.append(ManifestFile(path=name, size_bytes=size_bytes, sha256=sha256))
    return tuple(entries)
