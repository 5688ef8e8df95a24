"""``python -m demo.stack``: the smoke test of the running stack."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from demo.proof import show_proofs
from demo.sample import sample_file
from demo.stack.client import stack_of
from demo.stack.smoke import Smoke
from shared.errors import FtiError
from shared.task import load_task

_MENTIONS = 2_000


def main() -> int:
    """Run the smoke test; return the exit code: 0 all proved, 1 not, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.stack",
        description="Does against the running stack what a user does: stream events, train, ask"
        " for predictions, retrain and see the new version served, look at the metrics.",
        epilog="It reads .env and .secrets/ of the folder that it is run in, as `make up` made"
        " them. What it streams stays in the stack: run it on one that holds the sample task.",
    )
    parser.add_argument(
        "--task",
        type=Path,
        default=Path("tasks/brand_mentions.toml"),
        help="the stack's task file (default: %(default)s)",
    )
    parser.add_argument("--input", type=Path, help="file of texts (default: the sample's)")
    parser.add_argument(
        "--mentions",
        type=int,
        default=_MENTIONS,
        metavar="N",
        help="stream the newest N of them (default: %(default)s)",
    )
    options = parser.parse_args()
    console = Console()
    try:
        smoke = Smoke(
            stack_of(Path(), os.environ),
            console,
            load_task(options.task),
            options.input or sample_file(),
            options.mentions,
        )
        proofs = smoke.run()
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again", file=sys.stderr)  # noqa: T201 - as above
        return 130
    show_proofs(console, proofs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
