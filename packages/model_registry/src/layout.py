"""Where things lie in the registry, and which names are names at all.

<model>/_blobs/sha256/<hex>       the bytes of every file, stored once
<model>/v1.0/manifest.json        the commit point: a version exists when this does
<model>/v1.0/<file>               plain copies, made from the committed manifest, for people and `aws s3 sync`
<model>/v1.0/yanked.json          withdrawn, and why
<model>/_aliases/production.json  which version is in production, and which was before
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering

from packages.cloud.src.exit_codes import EX_USAGE, UserError
from packages.cloud.src.object_store import ObjectStore

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LABEL = re.compile(r"v(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
PRODUCTION = "production"


@total_ordering
@dataclass(frozen=True)
class Label:
    """`v<major>.<minor>`: major = another base model, tokenizer or template; minor = a new run on the same."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}"

    def __lt__(self, other: "Label") -> bool:
        return (self.major, self.minor) < (other.major, other.minor)


def parsed_label(text: str) -> Label:
    """The label written as `v1.0`. Raises UserError on anything else, `v01.0` too."""
    match = LABEL.fullmatch(text)
    if match is None:
        raise UserError(
            f"{text[:80]!r} is no version. Expected v<major>.<minor>, such as v1.0.",
            EX_USAGE,
        )
    return Label(int(match[1]), int(match[2]))


def is_label(text: str) -> bool:
    return LABEL.fullmatch(text) is not None


def checked_name(text: str, what: str = "model") -> str:
    """A model or alias name that is safe as a folder everywhere. Raises UserError."""
    if NAME.fullmatch(text) is None or is_label(text):
        raise UserError(
            f"{text[:80]!r} is no name for a{'n' if what == 'alias' else ''} {what}. Use up to 64 lower-case letters, digits, '.', '_' "
            "or '-', starting with a letter or digit; v1.0 and the like are versions.",
            EX_USAGE,
        )
    return text


def blob_folder(model: str) -> str:
    return f"{checked_name(model)}/_blobs/sha256"


def blob_key(model: str, sha256: str) -> str:
    return f"{blob_folder(model)}/{sha256}"


def version_folder(model: str, version: str) -> str:
    return f"{checked_name(model)}/{parsed_label(version)}"


def manifest_key(model: str, version: str) -> str:
    return f"{version_folder(model, version)}/manifest.json"


def yank_key(model: str, version: str) -> str:
    return f"{version_folder(model, version)}/yanked.json"


def copy_key(model: str, version: str, file_name: str) -> str:
    return f"{version_folder(model, version)}/{file_name}"


def alias_key(model: str, alias: str) -> str:
    return f"{checked_name(model)}/_aliases/{checked_name(alias, 'alias')}.json"


def listed_labels(store: ObjectStore, model: str) -> Iterator[Label]:
    """Labels with a manifest, in the order of the listing. A hint: only reading a manifest proves that it is there."""
    for row in store.list(f"{checked_name(model)}/v"):
        parts = row.key.split("/")
        if len(parts) == 3 and parts[2] == "manifest.json" and is_label(parts[1]):
            yield parsed_label(parts[1])


def listed_aliases(store: ObjectStore, model: str) -> Iterator[str]:
    """Names of the aliases of a model."""
    folder = f"{checked_name(model)}/_aliases/"
    for row in store.list(folder):
        name = row.key.removeprefix(folder).removesuffix(".json")
        if NAME.fullmatch(name):
            yield name
