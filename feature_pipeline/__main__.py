"""``python -m feature_pipeline``."""

import sys

from shared.starting import ended_by_interrupt

if __name__ == "__main__":
    with ended_by_interrupt():
        from feature_pipeline.cli import main

    sys.exit(main())
