"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Derandomised: a test that passes here passes there. No deadline: machines differ in speed.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
