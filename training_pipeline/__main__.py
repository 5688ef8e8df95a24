"""``python -m training_pipeline``."""

import sys

from training_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
