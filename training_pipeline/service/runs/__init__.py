"""Requested runs: their states, what may follow on what, and where they are kept."""
