"""The stack as its user sees it: four addresses on loopback and a token."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.errors import StateError

_PORTS = {
    "inference": ("INFERENCE_PORT", "8000"),
    "features": ("FEATURES_PORT", "8001"),
    "training": ("TRAINING_PORT", "8002"),
    "prometheus": ("PROMETHEUS_PORT", "9090"),
}
_ANSWER_SECONDS = 60.0
_POLL_SECONDS = 0.5
_EVENTS = 500
"""Events of one post."""


@dataclass(frozen=True)
class Stack:
    """The running stack."""

    addresses: Mapping[str, str]
    token: str

    def get(self, service: str, path: str, **query: str) -> dict[str, Any]:
        """Return the JSON answer to a GET; raises StateError when it is a failure."""
        return self._content("GET", service, path, params=query)

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON answer to a POST; raises StateError when it is a failure."""
        return self._content("POST", service, path, json=body)

    def stream(self, kind: str, events: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Post mentions or labels; return how many were new and how many known before.

        Raises:
            StateError: one was rejected, or the gateway does not take them.
        """
        accepted = duplicates = 0
        for start in range(0, len(events), _EVENTS):
            batch = events[start : start + _EVENTS]
            outcome = self.post("features", f"/v1/{kind}", {kind: batch})
            accepted += outcome["accepted"]
            duplicates += outcome["duplicates"]
            if outcome["accepted"] + outcome["duplicates"] != len(batch):
                raise StateError(
                    f"POST /v1/{kind}", expected="no event rejected", found=str(outcome)[:500]
                )
        return accepted, duplicates

    def figure(self, query: str) -> float:
        """Return what Prometheus knows of a figure, summed; 0 if it knows nothing of it."""
        answer = self.get("prometheus", "/api/v1/query", query=f"sum({query})")
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def backlog(self) -> float:
        """Return how many log entries wait for the stream."""
        text = self._answer("GET", "features", "/metrics").text
        name = "fti_gateway_backlog_entries "
        return next(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))

    def _content(self, method: str, service: str, path: str, **request: Any) -> dict[str, Any]:
        content: dict[str, Any] = self._answer(method, service, path, **request).json()
        return content

    def _answer(self, method: str, service: str, path: str, **request: Any) -> httpx.Response:
        address = self.addresses[service] + path
        try:
            answer = httpx.request(
                method,
                address,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=_ANSWER_SECONDS,
                **request,
            )
        except httpx.HTTPError as error:
            raise StateError(
                f"{method} {address}",
                expected="an answer",
                found=str(error) or type(error).__name__,
                remedy="`make up` starts the stack, `make logs` shows what it says.",
            ) from error
        if not answer.is_success:
            raise StateError(
                f"{method} {address}",
                expected="success",
                found=f"{answer.status_code} {answer.text[:500]}",
            )
        return answer


def stack_of(folder: Path, environment: Mapping[str, str]) -> Stack:
    """Return the stack of a folder with ``.env`` and ``.secrets/``, as `make up` makes them.

    Raises:
        StateError: there is no token.
    """
    token = folder / ".secrets" / "client.token"
    if not token.exists():
        raise StateError(str(token), expected="a token", found="no file", remedy="Run `make up`.")
    settings = {**_read_settings(folder / ".env"), **environment}
    return Stack(
        {
            service: f"http://127.0.0.1:{settings.get(name) or default}"
            for service, (name, default) in _PORTS.items()
        },
        token.read_text(encoding="ascii").strip(),
    )


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait for a condition; return the seconds that it took.

    Raises:
        StateError: the time is up.
    """
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise StateError(what, expected=f"within {seconds:.0f} s", found="not yet")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - begin


def _read_settings(path: Path) -> dict[str, str]:
    """Return what an ``.env`` file sets; as Compose reads it, but for quotes: it has none."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
