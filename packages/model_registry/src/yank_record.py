"""What `yanked.json` holds: why a version was withdrawn. Written once."""

from typing import Literal

from pydantic import Field, ValidationError

from packages.model_registry.src.canonical_json import canonical_json, strict_json
from packages.model_registry.src.manifest import Frozen
from packages.model_registry.src.refusals import RegistryDamaged


class Yank(Frozen):
    schema_version: Literal[1]
    model: str
    version: str
    reason: str = Field(min_length=1, max_length=2000)
    by: str = Field(max_length=300)

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))


def parsed_yank(data: bytes, model: str, version: str) -> Yank:
    """The record in these bytes. Raises RegistryDamaged: an unreadable one still withdraws its version."""
    try:
        strict_json(data, 64 * 1024)
        record = Yank.model_validate_json(data)
        if (record.model, record.version) != (model, version):
            raise ValueError(f"it belongs to {record.model[:80]} {record.version[:80]}")
    except (ValidationError, ValueError) as error:
        raise RegistryDamaged(
            f"The yank record of {model} {version} is damaged: {error}. The version counts as withdrawn. "
            "Restore the object from an older version of it."
        ) from error
    return record
