"""``python -m benchmarks.offline_store``."""

import sys

from benchmarks.offline_store.cli import main

if __name__ == "__main__":
    sys.exit(main())
