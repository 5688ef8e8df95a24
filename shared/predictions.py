"""Predictions as the feature store keeps them: inference writes these rows, monitoring reads them.

Two views hold the same columns under different keys. ``prediction_log`` has a row for each answer
to a request, ``mention_prediction`` one for each mention that was scored as it came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from shared.features import KNOWN_AT

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTION_LOG: Final = "prediction_log"
MENTION_PREDICTION: Final = "mention_prediction"

PredictionView = Literal["prediction_log", "mention_prediction"]
PREDICTION_VIEWS: tuple[PredictionView, ...] = (PREDICTION_LOG, MENTION_PREDICTION)


def prediction_entity(view: PredictionView) -> str:
    """Return what a row of the view is about; its join key is ``<entity>_id``."""
    return "mention" if view == MENTION_PREDICTION else "prediction"


def prediction_schema(view: PredictionView) -> pa.Schema:
    """Return the columns of a view's table, the same for every task and model.

    Labels and features differ between models, so each row names its own: ``probabilities`` goes
    with ``labels``, ``feature_values`` with ``feature_names``, ``view_statuses`` and ``view_ages``
    with ``view_names``. The event timestamp is the moment of the answer.
    """
    import pyarrow as pa

    names = pa.list_(pa.string())
    floats = pa.list_(pa.float32())
    columns = [
        (KNOWN_AT, pa.timestamp("us", "UTC")),
        (f"{prediction_entity(view)}_id", pa.string()),
    ]
    if view == PREDICTION_LOG:
        # A mention's text stands in `mention_text`; that of a request stands nowhere else.
        columns += [
            ("request_id", pa.string()),
            ("text", pa.string()),  # as `shared.text.normalise` left it
            ("fingerprint", pa.string()),
        ]
    columns += [
        ("subject_id", pa.string()),
        ("source_id", pa.string()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("alias", pa.string()),  # null: the version was asked for by its number
        ("variant", pa.string()),
        ("label", pa.string()),
        ("labels", names),
        ("probabilities", floats),
        ("feature_names", names),
        ("feature_values", floats),  # as the model read them; null where it read none
        ("view_names", names),
        ("view_statuses", names),
        ("view_ages", floats),  # seconds; null without a row
        ("degraded", pa.bool_()),
        ("latency_seconds", pa.float64()),  # from the question to the answer
    ]
    return pa.schema(columns)
