"""The latest rows of all keys, written online at once."""

from __future__ import annotations

from feature_pipeline.definition.transform import Tables
from feature_pipeline.progress import Progress
from feature_pipeline.store.online_views import OnlineViews, latest_rows
from shared.features import ROLES, activity_view, join_key


def check_online(tables: Tables) -> None:
    """Check that ``load_online`` can write these rows, before the ones that are there are gone.

    Raises:
        ValueError: a row holds a null.
    """
    for role in ROLES:
        latest_rows(activity_view(role), join_key(role), tables[activity_view(role)])


def load_online(online: OnlineViews, tables: Tables, progress: Progress) -> dict[str, int]:
    """Write the last row of each key of the activity views; return the keys by view.

    Args:
        online: gets them.
        tables: by view, rows in order of time within each key.
        progress: shows the keys written.
    """
    keys = {}
    for role in ROLES:
        view, key = activity_view(role), join_key(role)
        total = tables[view][key].n_unique()
        with progress.step(f"Writing the latest {view} online", total) as wrote:
            keys[view] = online.write(view, key, tables[view], wrote)
    return keys
