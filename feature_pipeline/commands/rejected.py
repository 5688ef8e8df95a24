"""What was rejected: the dead letters."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from feature_pipeline.bootstrap.gateway import replay, replay_edited
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.command import Command, count, duration, moment
from feature_pipeline.dead_letters import DeadLetters, KeptLetter, Selection
from feature_pipeline.gateway.replay import ReplayReport
from shared.errors import InputError

_SHOWN_BYTES = 200


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(
        act=_list, limit=20, json=False, id=None, origin="", reason="", since=None, before=None
    )
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--origin", default="", help="how it begins: 'POST /v1/labels', a file")
    which.add_argument("--reason", default="", help="what the reason contains")
    which.add_argument("--since", type=moment, help="received then or later")
    which.add_argument("--before", type=moment, help="received earlier")
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")

    listing = actions.add_parser("list", parents=[which], help="the newest, newest first")
    listing.add_argument("--limit", type=count, default=20, help="how many (default: 20)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line, bytes whole")
    listing.set_defaults(act=_list)

    show = actions.add_parser("show", help="the bytes of one, whole")
    show.add_argument("id", type=count)
    show.set_defaults(act=_show)

    replay = actions.add_parser(
        "replay", parents=[which], help="offer again what was posted, after the mistake was mended"
    )
    replay.add_argument("--id", type=count, help="only this one")
    replay.add_argument(
        "--edit", type=Path, metavar="FILE", help="with --id: a batch to take in its place"
    )
    replay.set_defaults(act=_replay)

    purge = actions.add_parser("purge", parents=[which], help="drop old ones")
    purge.add_argument(
        "--older-than", type=duration, required=True, metavar="AGE", help="such as 30d or 12h"
    )
    purge.set_defaults(act=_purge)


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    options.act(pipeline, options)


def _list(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    which = _selection(options)
    with closing(pipeline.open_dead_letters()) as dead_letters:
        letters, total = dead_letters.read(options.limit, which), dead_letters.count(which)
    if options.json:
        for letter in letters:
            sys.stdout.write(json.dumps(_document(letter)) + "\n")
        return
    console = Console()
    for letter in letters:
        console.print(
            f"{letter.id}  {letter.received_at:%Y-%m-%d %H:%M:%S} {letter.origin}",
            style="bold",
            markup=False,
        )
        console.print(f"  {letter.reason}", markup=False)
        console.print(f"  {letter.raw[:_SHOWN_BYTES]!r}", markup=False, style="dim")
    console.print(f"{len(letters)} of {total} dead letters")


def _show(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    with closing(pipeline.open_dead_letters()) as dead_letters:
        letter = _one(dead_letters, options.id)
    Console(stderr=True).print(f"{letter.origin}: {letter.reason}", markup=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(letter.raw)
    sys.stdout.buffer.flush()


def _replay(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    if options.edit is None:
        _tell(replay(pipeline, _selection(options)))
        return
    if options.id is None:
        raise InputError("--edit", expected="--id beside it", found="none")
    try:
        body = options.edit.read_bytes()
    except OSError as error:
        raise InputError(
            str(options.edit), expected="a file that can be read", found=str(error.strerror)
        ) from None
    with closing(pipeline.open_dead_letters()) as dead_letters:
        letter = _one(dead_letters, options.id)
    _tell(replay_edited(pipeline, letter, body))


def _tell(report: ReplayReport) -> None:
    console = Console()
    console.print(f"{report.accepted} accepted, {report.duplicates} known already")
    if report.kept:
        console.print(f"{report.kept} fail again; `dead-letters list` tells why")
    if report.left:
        console.print(
            f"{report.left} of files left: mend the file and load it again, or give --id and --edit"
        )


def _purge(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    border = datetime.now(UTC) - options.older_than
    asked = _selection(options)
    before = border if asked.before is None else min(border, asked.before)
    which = Selection(origin=asked.origin, reason=asked.reason, since=asked.since, before=before)
    with closing(pipeline.open_dead_letters()) as dead_letters:
        Console().print(f"{dead_letters.purge(which)} dead letters dropped")


def _one(dead_letters: DeadLetters, letter_id: int) -> KeptLetter:
    found = dead_letters.read(1, Selection(id=letter_id))
    if not found:
        raise InputError("dead letters", expected=f"one with the id {letter_id}", found="none")
    return found[0]


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(
        id=getattr(options, "id", None),
        origin=options.origin,
        reason=options.reason,
        since=options.since,
        before=options.before,
    )


def _document(letter: KeptLetter) -> dict[str, object]:
    """Return a letter as JSON holds it: bytes that are no UTF-8 in base64."""
    try:
        raw = {"raw": letter.raw.decode()}
    except UnicodeDecodeError:
        raw = {"raw_base64": base64.b64encode(letter.raw).decode()}
    return {
        "id": letter.id,
        "received_at": letter.received_at.isoformat(),
        "origin": letter.origin,
        "reason": letter.reason,
        **raw,
    }


DEAD_LETTERS = Command(
    "dead-letters", "show what was rejected; replay or drop it", _run, _add_arguments
)
