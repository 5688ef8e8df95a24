"""``python -m inference_pipeline``."""

import sys

from inference_pipeline.cli import main

sys.exit(main())
