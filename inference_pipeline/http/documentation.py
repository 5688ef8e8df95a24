"""How what is read by hand stands in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

_REFERENCE = "#/$defs/"


def request_body(kind: Any, *, required: bool) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route that reads JSON of some type."""
    content = {"application/json": {"schema": inlined_schema(kind)}}
    return {"requestBody": {"required": required, "content": content}}


def parameters(kind: type[BaseModel], place: str) -> list[dict[str, Any]]:
    """Return a model's fields as parameters of a route.

    Args:
        kind: the model; its aliases are the names of the parameters.
        place: ``query`` or ``header``.
    """
    schema = inlined_schema(kind)
    required = schema.get("required", [])
    return [
        {"name": name, "in": place, "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]


def inlined_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, without references, to stand in a larger document."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return inlined(definitions[part["$ref"].removeprefix(_REFERENCE)])
        return {key: inlined(value) for key, value in part.items()}

    whole: dict[str, Any] = inlined(schema)
    return whole
