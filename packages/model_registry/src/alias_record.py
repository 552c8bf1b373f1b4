"""What `_aliases/<name>.json` holds: the version an alias stands for, and every one before."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from packages.model_registry.src.canonical_json import canonical_json, strict_json
from packages.model_registry.src.layout import LABEL
from packages.model_registry.src.manifest import Frozen, Sha256
from packages.model_registry.src.refusals import RegistryDamaged

MAX_ALIAS_BYTES = 16 * 2**20

VersionText = Annotated[str, Field(pattern=f"^{LABEL.pattern}$")]
Short = Annotated[str, Field(max_length=300)]


class Move(Frozen):
    """One generation of an alias. `at` is the store's time, known once the next generation is written."""

    generation: int = Field(ge=1)
    kind: Literal["promote", "rollback"]
    version: VersionText
    manifest_sha256: Sha256
    operation: Short = Field(description="Recognises a repeated request.")
    by: Short
    at: str | None


class AliasRecord(Frozen):
    """An alias. Its history is complete: it grows by some 300 bytes per move."""

    schema_version: Literal[1]
    model: str
    alias: str
    history: tuple[Move, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _generations_are_counted(self) -> "AliasRecord":
        if [move.generation for move in self.history] != list(
            range(1, len(self.history) + 1)
        ):
            raise ValueError("the generations are not 1, 2, 3 ...")
        return self

    @property
    def current(self) -> Move:
        return self.history[-1]

    @property
    def version(self) -> str:
        return self.current.version

    @property
    def manifest_sha256(self) -> str:
        return self.current.manifest_sha256

    @property
    def generation(self) -> int:
        return self.current.generation

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    def moved(self, move: Move, current_since: datetime) -> "AliasRecord":
        """The record after one more move; the present one gets the time the store gave it."""
        dated = self.current.model_copy(update={"at": current_since.isoformat()})
        return self.model_copy(update={"history": (*self.history[:-1], dated, move)})

    def former(self) -> tuple[Move, ...]:
        """What a rollback leads to, nearest first: promotions, less those that rollbacks have undone."""
        standing: list[Move] = []
        for move in self.history:
            if move.kind == "promote":
                standing.append(move)
            else:
                while standing and standing[-1].version != move.version:
                    standing.pop()
        return tuple(reversed(standing[:-1]))


def parsed_alias(data: bytes, model: str, alias: str) -> AliasRecord:
    """The record in these bytes. Raises RegistryDamaged with the reason."""
    try:
        strict_json(data, MAX_ALIAS_BYTES)
        record = AliasRecord.model_validate_json(data)
        if (record.model, record.alias) != (model, alias):
            raise ValueError(f"it belongs to {record.model[:80]} {record.alias[:80]}")
        if record.to_bytes() != data:
            raise ValueError("its text is not canonical")
    except (ValidationError, ValueError) as error:
        raise RegistryDamaged(
            f"The alias {alias} of {model} is damaged: {error}. Keep what is loaded; restore the object from an older "
            "version of it, or delete it and promote again."
        ) from error
    return record
