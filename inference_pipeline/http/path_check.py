"""Paths that routing and the checks before it could read differently."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from inference_pipeline.http.paths import has_control_character
from inference_pipeline.http.refusal import refuse
from shared.errors import InputError


class PathCheck:
    r"""Answers 404 to a path with a control character, before anything else looks at it.

    Routes are patterns that end in `$`, which matches before a last line's end, too: `/v1/predict`
    would answer at `/v1/predict\n`, of which the table of scopes and the door know nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 404."""
        if scope["type"] == "http" and has_control_character(scope["path"]):
            error = InputError(
                "path", expected="a path of this service", found="one with a control character"
            )
            await refuse(send, scope["path"], HTTPStatus.NOT_FOUND, error, {})
            return
        await self._app(scope, receive, send)
