"""The worker: takes runs, executes them in child processes, and sweeps up after others."""
