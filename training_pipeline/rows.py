"""Labelled rows, as arrays: what is split, trained on and measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Labelled mentions with their features as of just before each mention was known.

    All arrays have one entry per row, oldest first: ordered by (known_at, mention_id).
    """

    mention_ids: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    """Normalised texts."""
    fingerprints: npt.NDArray[np.object_]
    """What near-copies of a text share."""
    known_at: npt.NDArray[np.datetime64]
    """When the system learned of the mention; UTC, microseconds."""
    labels: npt.NDArray[np.int64]
    """[rows], positions in the task's list of labels."""
    features: npt.NDArray[np.float32]
    """[rows, features]; NaN where a value is missing."""
    subject_ids: npt.NDArray[np.object_]
    source_ids: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    """None where nobody told. Like subjects and sources not learned from, but measured by."""

    def __len__(self) -> int:
        return len(self.mention_ids)

    def take(self, indices: Indices | Sequence[int] | slice) -> Rows:
        """Return the rows at these positions, in the order given."""
        return Rows(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})


def identity(rows: Rows, columns: Sequence[str], versions: Mapping[str, int]) -> str:
    """Return the SHA-256 of everything that training reads.

    Args:
        rows: all rows, in order.
        columns: names of the features, in order.
        versions: the version of each table that the rows were read from.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([list(columns), sorted(versions.items())]).encode())
    for name in ("mention_ids", "texts", "fingerprints"):
        digest.update(json.dumps(getattr(rows, name).tolist(), ensure_ascii=False).encode())
    digest.update(rows.known_at.astype("datetime64[us]").astype("<i8").tobytes())
    digest.update(rows.labels.astype("<i8").tobytes())
    # Every NaN counts as the same, whatever its bits.
    one_nan = np.where(np.isnan(rows.features), np.float32("nan"), rows.features)
    digest.update(one_nan.astype("<f4").tobytes())
    return digest.hexdigest()
