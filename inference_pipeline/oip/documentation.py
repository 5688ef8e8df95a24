"""How bodies that are read by hand stand in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_REFERENCE = "#/$defs/"


def request_body(kind: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route that reads a JSON object of some kind."""
    content = {"application/json": {"schema": inlined_schema(kind)}}
    return {"requestBody": {"required": required, "content": content}}


def inlined_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """Return a JSON schema without references, to stand anywhere in a larger document."""
    schema = kind.model_json_schema()
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
