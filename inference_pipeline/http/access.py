"""What a token must allow for which path."""

from __future__ import annotations

from inference_pipeline.http.paths import PROBES, is_prediction
from shared.bearer import ANY_SCOPE

PREDICT = "predict"
MODELS = "models"
METRICS = "metrics"
SCOPES = (PREDICT, MODELS, METRICS)

# These tell what the software is, not what this server holds; browsers send no token.
_DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
_OPEN = PROBES | _DOCUMENTATION
_CHANGES = "/v2/repository/models/"


def scope_needed(path: str) -> str | None:
    """Return the scope that a path needs, `ANY_SCOPE` for any token, None where all may ask.

    What serves may be read with any token; so are paths that there are not, which tells nothing.

    >>> scope_needed("/v1/predict"), scope_needed("/v2/repository/models/a/unload")
    ('predict', 'models')
    >>> scope_needed("/v1/models"), scope_needed("/healthz")
    ('', None)
    """
    if path in _OPEN:
        return None
    if is_prediction(path):
        return PREDICT
    if path.startswith(_CHANGES):
        return MODELS
    return METRICS if path == "/metrics" else ANY_SCOPE
