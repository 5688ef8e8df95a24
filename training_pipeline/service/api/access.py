"""What a token must allow for which request."""

from __future__ import annotations

from shared.bearer import ANY_SCOPE

TRAIN = "train"
READ = "read"
METRICS = "metrics"
SCOPES = (TRAIN, READ, METRICS)

_RUNS = "/v1/runs"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Probes, and what tells what the software is, not what this service holds.
_OPEN = frozenset(
    {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
)


def scope_needed(method: str, path: str) -> str | None:
    """Return the scope that a request needs, ``ANY_SCOPE`` for any token, None where all may ask.

    >>> scope_needed("POST", "/v1/runs"), scope_needed("DELETE", "/v1/runs/7f")
    ('train', 'train')
    >>> scope_needed("GET", "/v1/runs/7f/events"), scope_needed("GET", "/metrics")
    ('read', 'metrics')
    >>> scope_needed("GET", "/healthz"), scope_needed("GET", "/v1/nothing")
    (None, '')
    """
    if path in _OPEN:
        return None
    if path.startswith(_RUNS):
        return READ if method in _READING else TRAIN
    return METRICS if path == "/metrics" else ANY_SCOPE
