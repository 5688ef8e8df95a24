"""The exit codes of the command line; beside 2, which argparse gives for wrong usage."""

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_GATE_FAILED = 3
EXIT_KEPT = 4
"""Trained, but the registry was away: the result is kept, for ``register``."""
EXIT_INTERRUPTED = 130
