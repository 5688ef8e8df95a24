"""What a token must allow for which path, and by what name a client is known."""

from __future__ import annotations

from shared.bearer import ANY_SCOPE, CLIENT, Scope

EVENTS = "events"
METRICS = "metrics"
SCOPES = (EVENTS, METRICS)

_POSTS = frozenset({"/v1/mentions", "/v1/labels"})
# Probes, and what tells what the software is, not what this gateway holds.
_OPEN = frozenset(
    {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
)


def scope_needed(path: str) -> str | None:
    r"""Return the scope that a path needs, ``ANY_SCOPE`` for any token, None where all may ask.

    >>> scope_needed("/v1/mentions"), scope_needed("/metrics"), scope_needed("/healthz")
    ('events', 'metrics', None)
    >>> scope_needed("/v1/nothing"), scope_needed("/metrics\n")
    ('', 'metrics')
    """
    if path in _OPEN:
        return None
    if takes_events(path):
        return EVENTS
    return METRICS if _routed(path) == "/metrics" else ANY_SCOPE


def takes_events(path: str) -> bool:
    """Tell whether events are posted to a path."""
    return _routed(path) in _POSTS


def _routed(path: str) -> str:
    """Return a path as routes see it: their patterns end in ``$``, which a last newline passes."""
    return path.removesuffix("\n")


def client_of(scope: Scope) -> str:
    """Return who asks: the name of the token's client, or the address without tokens."""
    name = scope.get("state", {}).get(CLIENT)
    if name is not None:
        return f"client {name}"
    address = scope.get("client")
    return f"address {address[0]}" if address else "an unknown address"
