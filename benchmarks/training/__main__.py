"""``python -m benchmarks.training``."""

import sys

from benchmarks.training.cli import main

if __name__ == "__main__":
    sys.exit(main())
