"""Running the commands: a file from beginning to end, the stream until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from inference_pipeline.engine.answer import Ask
from inference_pipeline.scoring.batch import Scorer
from inference_pipeline.scoring.bootstrap import champion, opened, stream_scorer, variant
from inference_pipeline.scoring.input_file import InputFile
from inference_pipeline.scoring.parts import Finished, Parts
from inference_pipeline.scoring.plan import Plan, plan_of
from inference_pipeline.settings import InferenceSettings
from shared.file_lock import hold_file

DONE = 0
SOME_REJECTED = 3

_PATIENCE = timedelta(hours=1)
"""A chunk may take long: nobody waits for it."""


def score(
    settings: InferenceSettings,
    file: InputFile,
    output: Path,
    *,
    version: str,
    chunk_rows: int,
    anew: bool,
) -> int:
    """Score a file, or go on with it, and return the exit code of the command.

    Args:
        settings: name the model.
        file: the texts.
        output: where the labels go; it appears when all rows are done.
        version: the model's version; empty for the champion, or for that of an earlier run.
        chunk_rows: rows done at a time.
        anew: forget what an earlier run of the same output did.

    Raises:
        FtiError: the file cannot be read, or there is nothing to score it with.
        KeyboardInterrupt: on Ctrl-C and SIGTERM.
    """
    # As Ctrl-C: chunks that are done stay done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    file.check()
    parts = Parts(output)
    with parts.held():
        wanted = plan_of(
            file,
            chunk_rows=chunk_rows,
            model=settings.inference_models[0],
            version=version,
        )
        plan = parts.begin(wanted, anew=anew)
        done = asyncio.run(_score_chunks(settings, file, parts, plan))
        finished = parts.finish()
    _tell(output, finished, done)
    return SOME_REJECTED if finished.rejected else DONE


async def _score_chunks(
    settings: InferenceSettings, file: InputFile, parts: Parts, plan: Plan
) -> Plan:
    """Score what is not done yet, and return the plan with the version and variant that did."""
    async with opened(settings, timeout=_PATIENCE) as at:
        loaded = await asyncio.to_thread(at.versions.load, plan.model, plan.version or None)
        version = plan.version or champion(loaded)
        plan = replace(plan, version=version, variant=variant(loaded, version))
        parts.keep(plan)
        scorer = Scorer(
            at.engine,
            Ask(model=plan.model, version=plan.version, timeout=_PATIENCE),
            parts,
            chunk_rows=plan.chunk_rows,
            in_flight=1 + settings.inference_threads,
        )
        with _progress(file) as on_chunk:
            await scorer.run(file.rows(), on_chunk)
    return plan


@contextmanager
def _progress(file: InputFile) -> Iterator[Callable[[int], object]]:
    """Show, on a terminal, how far reading has come and how many rows are done."""
    done = 0
    # None: shown on a terminal only.
    with tqdm(desc=file.path.name, unit="B", unit_scale=True, disable=None) as bar:

        def on_chunk(rows: int) -> None:
            nonlocal done
            done += rows
            bar.total = file.size
            bar.set_postfix_str(f"{done:,} rows", refresh=False)
            bar.update(file.position - bar.n)

        yield on_chunk


def _tell(output: Path, finished: Finished, plan: Plan) -> None:
    by = f"model {plan.model} version {plan.version}, variant {plan.variant}"
    lines = [f"{output}: {finished.scored:,} rows, by {by}"]
    if finished.rejects is not None:
        lines += [f"{finished.rejects}: {finished.rejected:,} rows that were rejected, such as"]
        lines += [f"  line {line}: {reason}" for line, reason in finished.first_rejects]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - the command line's answer


def score_stream(settings: InferenceSettings) -> int:
    """Score mentions until SIGTERM or Ctrl-C, and return the exit code of the command.

    Raises:
        FtiError: another process does it already, or mentions that were not scored are gone.
    """
    model = settings.inference_models[0]
    with hold_file(
        settings.home / "inference" / f"score-stream-{model}.lock",
        place=f"stream scoring of model {model} in FTI_HOME {settings.home}",
        remedy="It runs there already.",
    ):
        asyncio.run(_follow_mentions(settings))
    return DONE


async def _follow_mentions(settings: InferenceSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened(settings, timeout=_PATIENCE) as at:
        at.versions.start()
        await stream_scorer(settings, at).run(stop)
