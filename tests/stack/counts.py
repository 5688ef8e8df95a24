"""Prints what both stores hold, by subject, as JSON; inside a container of the feature pipeline.

Its arguments are the subjects.
"""

from __future__ import annotations

import json
import sys

import polars as pl

from feature_pipeline.settings import FeatureSettings
from shared.feature_store import open_feature_store
from shared.features import MENTION_TEXT, SUBJECT_ACTIVITY
from shared.settings import load_settings
from shared.task import load_task


def main(subjects: list[str]) -> None:
    """Print the counts."""
    settings = load_settings(FeatureSettings)
    feature = f"mentions_{load_task(settings.task).activity.spans[-1].name}"
    store = open_feature_store(settings.places)
    online = store.get_online_features(
        features=[f"{SUBJECT_ACTIVITY}:{feature}"],
        entity_rows=[{"subject_id": subject} for subject in subjects],
    ).to_dict()
    tables = {
        "rows": pl.len(),
        "mentions": pl.col("mention_id").n_unique(),
    }
    offline = (
        pl.scan_delta(f"{settings.places.offline_store}/{MENTION_TEXT}")
        .group_by("subject_id")
        .agg(**tables)
        .collect()
    )
    counts = {
        "online": dict(zip(online["subject_id"], online[feature], strict=True)),
        "offline rows": dict(offline.select("subject_id", "rows").iter_rows()),
        "offline mentions": dict(offline.select("subject_id", "mentions").iter_rows()),
    }
    json.dump(counts, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
