"""``python -m feature_pipeline``."""

import sys

from feature_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
