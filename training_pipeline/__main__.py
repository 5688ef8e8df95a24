"""``python -m training_pipeline``."""

from shared.ending import leave
from shared.starting import ended_by_interrupt

if __name__ == "__main__":
    with ended_by_interrupt():
        from training_pipeline.cli import main

    leave(main())
