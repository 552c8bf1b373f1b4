"""From a version or an alias to verified files on this machine."""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packages.cloud.src.folder_store import write_refusals_explained
from packages.cloud.src.object_store import (
    BlobDamaged,
    ObjectMissing,
    ObjectStore,
    sha256_of_file,
)
from packages.model_registry.src.alias_record import AliasRecord, parsed_alias
from packages.model_registry.src.layout import (
    alias_key,
    blob_key,
    checked_name,
    copy_key,
    is_label,
    listed_aliases,
    listed_labels,
    manifest_key,
    yank_key,
)
from packages.model_registry.src.load_guard import MANIFEST_NAME, guard_adapter
from packages.model_registry.src.manifest import Manifest, ManifestFile, parsed_manifest
from packages.model_registry.src.refusals import (
    AliasMissing,
    LoadRefused,
    RegistryDamaged,
    VersionMissing,
    VersionYanked,
)
from packages.model_registry.src.yank_record import Yank, parsed_yank

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedVersion:
    """A committed version. `asked` is what it was asked for by: its label, or an alias."""

    model: str
    version: str
    asked: str
    manifest: Manifest
    manifest_sha256: str
    yanked: Yank | None


def resolve(store: ObjectStore, model: str, name: str) -> ResolvedVersion:
    """The version that `name` stands for: a label (`v1.0`) or an alias (`production`).

    A withdrawn version is still found by its label, with a warning in the log: a pinned reader goes on.

    Raises:
        VersionMissing, AliasMissing: nothing has that name.
        VersionYanked: the alias leads to a withdrawn version.
        RegistryDamaged, ManifestRefused: the stored manifest or alias is not what was committed.
    """
    if is_label(name):
        manifest = read_manifest(store, model, name)
        found = _resolved(store, manifest, name)
        if found.yanked is not None:
            log.warning("%s %s was yanked: %s", model, name, found.yanked.reason)
        return found
    record, _ = read_alias(store, model, name)
    try:
        manifest = read_manifest(store, model, record.version)
    except VersionMissing as error:
        raise RegistryDamaged(
            f"The alias {name} of {model} leads to {record.version}, which does not exist. Keep what is loaded, and "
            f"run `registry rollback {model} --alias {name}` or promote a version that `registry ls {model}` shows."
        ) from error
    if manifest.sha256 != record.manifest_sha256:
        raise RegistryDamaged(
            f"The alias {name} of {model} was set to a manifest of {record.version} with SHA-256 "
            f"{record.manifest_sha256}, but the stored one has {manifest.sha256}. Run `registry verify {model}`."
        )
    found = _resolved(store, manifest, name)
    if found.yanked is not None:
        raise VersionYanked(
            f"The alias {name} of {model} leads to {found.version}, which was yanked: {found.yanked.reason}. "
            f"Run `registry rollback {model} --alias {name}`, promote another version, or ask for {found.version} by its label."
        )
    return found


def fetch(store: ObjectStore, model: str, name: str, cache_dir: Path) -> Path:
    """A folder with the verified files of a version, and its manifest.json. Never write into it.

    The folder is named after the hash of the manifest, so it never changes what it holds; it is verified again each
    time, and fetched again if it was damaged here.

    Raises:
        LoadRefused: the stored version must not be loaded.
        RegistryDamaged: a blob is missing or damaged. And what `resolve` raises.
    """
    resolved = resolve(store, model, name)
    return fetch_resolved(store, resolved, cache_dir)


def fetch_resolved(
    store: ObjectStore, resolved: ResolvedVersion, cache_dir: Path
) -> Path:
    """`fetch` for a version that is already resolved, so that nobody can move the alias in between."""
    final = cache_dir / resolved.model / resolved.manifest_sha256
    if final.is_dir():
        try:
            guard_adapter(final, resolved.manifest)
            return final
        except LoadRefused as error:
            log.warning("The cached copy is damaged and fetched again: %s", error)
            _discard(final)
    with write_refusals_explained(final), _arriving_folder(final) as arriving:
        for file in resolved.manifest.files:
            download_blob(store, resolved.manifest, file, arriving / file.path)
        (arriving / MANIFEST_NAME).write_bytes(resolved.manifest.to_bytes())
        guard_adapter(arriving, resolved.manifest)
        try:
            arriving.replace(final)
        except OSError:
            if not final.is_dir():
                raise
            guard_adapter(final, resolved.manifest)  # another process was faster
    return final


def download_blob(
    store: ObjectStore, manifest: Manifest, file: ManifestFile, path: Path
) -> None:
    """Bring one file of a version here, its hash verified. Falls back to the plain copy if the blob is gone.

    Raises:
        RegistryDamaged: no stored object has these bytes.
    """
    keys = (
        blob_key(manifest.model, file.sha256),
        copy_key(manifest.model, manifest.version, file.path),
    )
    findings = []
    for key in keys:
        try:
            store.download(key, path)
        except (ObjectMissing, BlobDamaged):
            findings.append(f"{key} is missing")
            continue
        if sha256_of_file(path) == file.sha256:
            return
        findings.append(f"{key} has SHA-256 {sha256_of_file(path)}")
        if key == keys[0]:  # a damaged blob is a fault to report, not to pass over
            break
    path.unlink(missing_ok=True)
    raise RegistryDamaged(
        f"{manifest.model} {manifest.version}: {file.path} should have SHA-256 {file.sha256}, but "
        f"{' and '.join(findings)} in {store.uri}. Run `registry repair {manifest.model}`."
    )


def read_manifest(store: ObjectStore, model: str, version: str) -> Manifest:
    """The committed manifest of a label. Raises VersionMissing, ManifestRefused."""
    try:
        data = store.read(manifest_key(model, version))
    except ObjectMissing as error:
        known = sorted(listed_labels(store, model))
        shown = ", ".join(map(str, known[-8:])) or "none"
        raise VersionMissing(
            f"{model} has no version {version} in {store.uri}. Its versions: {shown}. See `registry ls {model}`."
        ) from error
    return parsed_manifest(data, model, version)


def read_alias(store: ObjectStore, model: str, alias: str) -> tuple[AliasRecord, str]:
    """What an alias holds, and the etag to replace it by. Raises AliasMissing, RegistryDamaged."""
    found = find_alias(store, model, alias)
    if found is None:
        known = ", ".join(listed_aliases(store, model)) or "none"
        raise AliasMissing(
            f"{model} has no alias {alias} in {store.uri}. Its aliases: {known}. "
            f"`registry promote {model} <version> --alias {alias}` makes one."
        )
    return found


def find_alias(
    store: ObjectStore, model: str, alias: str
) -> tuple[AliasRecord, str] | None:
    """`read_alias`, with None where there is no such alias. Raises RegistryDamaged."""
    checked_name(alias, "alias or version")
    try:
        data, etag = store.read_with_etag(alias_key(model, alias))
    except ObjectMissing:
        return None
    return parsed_alias(data, model, alias), etag


def read_yank(store: ObjectStore, model: str, version: str) -> Yank | None:
    """Why a version was withdrawn, or None."""
    try:
        data = store.read(yank_key(model, version))
    except ObjectMissing:
        return None
    return parsed_yank(data, model, version)


def _resolved(store: ObjectStore, manifest: Manifest, asked: str) -> ResolvedVersion:
    yanked = read_yank(store, manifest.model, manifest.version)
    return ResolvedVersion(
        manifest.model, manifest.version, asked, manifest, manifest.sha256, yanked
    )


@contextmanager
def _arriving_folder(final: Path) -> Iterator[Path]:
    arriving = final.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    arriving.mkdir(parents=True)
    try:
        yield arriving
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _discard(folder: Path) -> None:
    """Move a damaged copy out of the way in one step; whoever still maps its files keeps them."""
    away = folder.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        folder.rename(away)
    except FileNotFoundError:
        return
    shutil.rmtree(away, ignore_errors=True)
