"""The commands ``score`` and ``score-stream``."""

from __future__ import annotations

import argparse
import logging
from importlib.util import find_spec
from pathlib import Path

from inference_pipeline.scoring.input_file import FIELDS, InputFile
from inference_pipeline.settings import InferenceSettings
from shared.errors import StateError
from shared.logs import configure_logs

_CHUNK_ROWS = 1_000


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to those of the command line; each sets ``run``."""
    score = commands.add_parser(
        "score",
        help="label the texts of a file",
        description="Label the texts of a CSV, JSON Lines (also .gz) or Parquet file with the "
        "champion. Interrupted, it goes on where it was when it is run again. Exit codes: "
        "0 all rows have a label, 3 some were rejected (OUTPUT.rejects.jsonl names them), 1 an "
        "error, 130 interrupted.",
    )
    score.add_argument("--input", type=Path, required=True, help="the file")
    score.add_argument("--output", type=Path, required=True, help=".csv, .jsonl or .parquet")
    score.add_argument("--model", help="registered model (default: FTI_INFERENCE_MODEL)")
    score.add_argument("--version", default="", help="its version (default: the champion)")
    score.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help=f"the column of a field ({', '.join(FIELDS)}), where it is not called so",
    )
    score.add_argument(
        "--chunk-rows", type=_count, default=_CHUNK_ROWS, help="rows done at a time (%(default)s)"
    )
    score.add_argument(
        "--anew", action="store_true", help="forget what an earlier run of the same output did"
    )
    score.set_defaults(run=_score)
    stream = commands.add_parser(
        "score-stream",
        help="label mentions as they land in the feature store",
        description="Label each new mention with the champion, and write the predictions back to "
        "the feature store, each once, until SIGTERM or Ctrl-C. The first start begins with what "
        "lands from then on.",
    )
    stream.add_argument("--model", help="registered model (default: FTI_INFERENCE_MODEL)")
    stream.set_defaults(run=_score_stream)


def _score(settings: InferenceSettings, given: argparse.Namespace) -> int:
    if find_spec("polars") is None:
        raise StateError(
            "command score",
            expected="the package polars, which serving does without",
            found="none",
            remedy="Install requirements/scoring.txt; an image has it if it is built with"
            " --build-arg REQUIREMENTS=scoring.",
        )
    from inference_pipeline.scoring.runs import score

    configure_logs("score", log_format=settings.log_format, level="warning")
    # Somebody watches this run; what libraries warn of is for those who change the code.
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    return score(
        settings,
        InputFile(given.input, dict(given.column)),
        given.output,
        version=given.version,
        chunk_rows=given.chunk_rows,
        anew=given.anew,
    )


def _score_stream(settings: InferenceSettings, _: argparse.Namespace) -> int:
    from inference_pipeline.scoring.runs import score_stream

    configure_logs("score-stream", log_format=settings.log_format, level=settings.log_level)
    return score_stream(settings)


def _column(text: str) -> tuple[str, str]:
    field, separator, column = text.partition("=")
    if field not in FIELDS or not separator or not column:
        raise argparse.ArgumentTypeError(
            f"expected FIELD=COLUMN with one of {', '.join(FIELDS)} as field, found {text!r}"
        )
    return field, column


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return int(text)
