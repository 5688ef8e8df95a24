"""An application that asks for tokens, and says so in its OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from inference_pipeline.http.access import scope_needed

_SCHEME = "token"
_UNAUTHORIZED = {
    "description": "There is no bearer token, or it is unknown",
    "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
}
_FORBIDDEN = {"description": "The token does not allow it"}


class GuardedApp(FastAPI):
    """Tells of each operation which scope its token needs."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes[_SCHEME] = {"type": "http", "scheme": "bearer"}
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _describe(operation, scope_needed(path))
        return super().openapi()


def _describe(operation: dict[str, Any], needed: str | None) -> None:
    if needed is None:
        operation["security"] = []
        return
    operation["security"] = [{_SCHEME: [needed] if needed else []}]
    operation["responses"]["401"] = _UNAUTHORIZED
    if needed:
        operation["responses"]["403"] = _FORBIDDEN
