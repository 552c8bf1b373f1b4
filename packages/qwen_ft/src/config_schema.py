"""A section of settings, and what its JSON schema says of keys, types and ranges in words."""

import functools
from typing import Any

from pydantic import BaseModel, ConfigDict

KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "a mapping",
}
LIMITS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


class Frozen(BaseModel):
    """A section of settings: read-only, no unknown keys, no text for a number, no NaN or inf."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


@functools.cache
def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Names of the settings under `path`; none where `path` is a setting itself."""
    return list(schema_at(model, path).get("properties", {}))


def schema_at(model: type[BaseModel], path: tuple[str | int, ...]) -> dict[str, Any]:
    """The part of the JSON schema that describes one setting; of a list, its entries'."""
    whole = json_schema(model)
    part = whole
    for step in path:
        part = (
            part.get("items", {}) if isinstance(step, int) else part["properties"][step]
        )
        if "$ref" in part:
            named: dict[str, Any] = whole["$defs"][part["$ref"].rsplit("/", 1)[-1]]
            part = {**named, **{k: v for k, v in part.items() if k != "$ref"}}
    return part


def expectation(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """What one setting accepts, such as `a number above 0 and at most 0.1`."""
    return in_words(schema_at(model, path))


def in_words(schema: dict[str, Any]) -> str:
    """A JSON schema of one value as a phrase."""
    if "expects" in schema:
        return str(schema["expects"])
    if "anyOf" in schema:
        return " or ".join(in_words(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if schema.get("type") == "array":
        return "a list, each entry " + in_words(schema.get("items", {}))
    kind = KINDS.get(schema.get("type", ""), "a value")
    if schema.get("minLength"):
        kind += " that is not empty"
    if "minimum" in schema and "maximum" in schema:
        return f"{kind} from {schema['minimum']:,} to {schema['maximum']:,}"
    limits = [
        f"{word} {schema[key]:,}" for key, word in LIMITS.items() if key in schema
    ]
    return " ".join([kind, " and ".join(limits)]).strip()
