"""What all tests share."""

from __future__ import annotations

import os

# Before Feast, which on import switches prometheus_client to files that all registries share.
import prometheus_client
from hypothesis import settings

# Derandomised: a test that passes here passes there. No deadline: machines differ in speed.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

__all__ = ["prometheus_client"]

# The tests' own changes are no reason not to train.
os.environ.setdefault("FTI_TRAINING_ALLOW_DIRTY", "true")

# Servers of other people, whose packages live in an environment of their own.
collect_ignore_glob = ["benchmarks/serving/peers/*.py"]
