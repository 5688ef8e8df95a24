"""``python -m benchmarks.features``."""

import sys

from benchmarks.features.cli import main

if __name__ == "__main__":
    sys.exit(main())
