"""The manifest of a version: which bytes it has and where they come from. Created once, never changed.

It holds no wall-clock time, so that registering the same run again gives the same manifest, byte for byte.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from packages.model_registry.src.canonical_json import (
    canonical_json,
    json_sha256,
    strict_json,
)
from packages.model_registry.src.refusals import ManifestRefused, listed

MAX_MANIFEST_BYTES = 2**20
MAX_FILE_BYTES = 2**40
WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
REQUIRED_FILES = frozenset({WEIGHTS, ADAPTER_CONFIG})
# Allow-list, not deny-list: scanners for bad formats keep being outwitted (RELIABILITY section 6).
ALLOWED_FILES = REQUIRED_FILES | {
    "README.md",
    "LICENSE",
    "NOTICE",
    "added_tokens.json",
    "chat_template.jinja",
    "evaluation.json",
    "generation_config.json",
    "merges.txt",
    "model.sig",
    "run_config.json",
    "run_config.yaml",
    "samples.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_curves.json",
    "vocab.json",
}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Revision = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ManifestFile(Frozen):
    path: str = Field(
        description="Name of the file; there are no folders in a version."
    )
    size_bytes: int = Field(ge=0, le=MAX_FILE_BYTES)
    sha256: Sha256


class BaseModelRef(Frozen):
    name: Text = Field(description="Hub id, starter:// name or folder name.")
    revision: Revision = Field(
        description="40-hex commit on the hub; 64-hex hash of the files elsewhere."
    )


class Lineage(Frozen):
    """Where a version comes from. Every field must be given; null only where the type says so."""

    run: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.:-]+$",
        max_length=200,
        description="Metaflow pathspec, such as TrainingFlow/17.",
    )
    git_sha: Commit | None = Field(description="Null outside a git checkout.")
    git_dirty: bool | None = Field(description="Uncommitted changes; null without git.")
    config: dict[str, JsonValue] = Field(description="The resolved run configuration.")
    config_sha256: Sha256 = Field(description="json_sha256(config).")
    data_sha256: Sha256 = Field(description="Hash of the data manifest.")
    tokenizer_sha256: Sha256
    template_sha256: Sha256 = Field(description="Hash of the chat template's text.")
    base_model: BaseModelRef
    lock_sha256: Sha256 = Field(description="Hash of the library lock.")
    image_digest: str | None = Field(
        pattern=r"^sha256:[0-9a-f]{64}$", description="Null where there is no image."
    )
    seeds: dict[str, int]
    metrics: dict[str, Number] = Field(min_length=1)
    gate: dict[str, JsonValue] = Field(
        min_length=1, description="The verdict: each rule, value, limit, interval."
    )
    hardware: dict[str, JsonValue]
    usage: dict[str, Number] = Field(description="Seconds and tokens used.")

    @model_validator(mode="after")
    def _hash_belongs_to_config(self) -> "Lineage":
        if self.config_sha256 != json_sha256(self.config):
            raise ValueError(
                f"config_sha256 is {self.config_sha256}, but json_sha256(config) is "
                f"{json_sha256(self.config)}"
            )
        return self

    @property
    def base_identity(self) -> tuple[str, ...]:
        """Versions with the same one share their major number and can stand in for one another."""
        base = self.base_model
        return base.name, base.revision, self.tokenizer_sha256, self.template_sha256


class Manifest(Frozen):
    schema_version: Literal[1]
    model: str
    version: str
    files: tuple[ManifestFile, ...]
    lineage: Lineage

    @model_validator(mode="after")
    def _files_are_safe(self) -> "Manifest":
        problems = file_name_problems([file.path for file in self.files])
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def lineage_from(meta: Mapping[str, Any]) -> Lineage:
    """Check what a run says about itself. Raises ManifestRefused, listing every missing or wrong field."""
    try:
        return Lineage.model_validate_json(canonical_json(dict(meta)))
    except (ValidationError, ValueError, TypeError) as error:
        problems = _sentences(error, "lineage")
        raise ManifestRefused(
            listed("The lineage of this run cannot be registered:", problems)
            + "\nGive every field of Lineage (packages/model_registry/README.md)."
        ) from error


def parsed_manifest(data: bytes, model: str, version: str) -> Manifest:
    """The manifest in these bytes, which must be the canonical text of one for exactly this model and version.

    Raises:
        ManifestRefused: anything else, with the reason.
    """
    try:
        strict_json(data, MAX_MANIFEST_BYTES)
        manifest = Manifest.model_validate_json(data)
        for field, found, expected in (
            ("model", manifest.model, model),
            ("version", manifest.version, version),
        ):
            if found != expected:
                raise ValueError(f"{field} is {found[:100]!r}, expected {expected!r}")
        if manifest.to_bytes() != data:
            raise ValueError("its text is not canonical, so its hash is not its own")
    except (ValidationError, ValueError) as error:
        problems = _sentences(error, "manifest")
        raise ManifestRefused(
            listed(f"The manifest of {model} {version} is refused:", problems)
            + "\nDo not load this version. `registry verify` checks the others."
        ) from error
    return manifest


def file_name_problems(names: list[str]) -> list[str]:
    """Why these cannot be the files of one version; empty if they can. The more telling reasons come first."""
    problems = []
    for name in names:
        shown = repr(name[:80])
        if not name or len(name.encode("utf-8", "surrogatepass")) > 255:
            problems.append(f"file name {shown} is empty or longer than 255 bytes")
        elif any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
            problems.append(f"file name {shown} holds a control character")
        elif name in (".", "..") or re.search(r"[/\\:]", name):
            problems.append(f"file name {shown} leads out of its folder")
        elif unicodedata.normalize("NFC", name) != name:
            problems.append(f"file name {shown} is not in Unicode form NFC")
        elif name not in ALLOWED_FILES:
            problems.append(f"file {shown} is not on the list of allowed names")
    folded = [unicodedata.normalize("NFC", name).casefold() for name in names]
    for name in sorted({name for name in folded if folded.count(name) > 1}):
        problems.append(f"file name {name[:80]!r} is there twice (case ignored)")
    for name in sorted(REQUIRED_FILES.difference(names)):
        problems.append(f"file {name!r} is missing")
    if not problems and names != sorted(names):
        problems.append("the files are not in the order of their names")
    return problems


def _sentences(error: Exception, where: str) -> list[str]:
    if not isinstance(error, ValidationError):
        return [f"{where}: {error}"]
    return [
        f"{'.'.join([where, *map(str, row['loc'])])}: {row['msg']}"
        + ("" if row["type"] == "missing" else f" (found {_shown(row['input'])})")
        for row in error.errors(include_url=False)
    ]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
