"""Beat: asks for the runs that the task's schedules say, each due time once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from celery import Celery
from celery.beat import Service

from shared.cron import Cron
from shared.errors import StateError
from shared.logs import get_logger
from shared.schedules import Schedule
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.run import Run, new_run
from training_pipeline.service.sign_of_life import SignOfLife

_log = get_logger(__name__)

_LONGEST_SLEEP = 60.0
_RETRY_SECONDS = 5.0


class Calendar:
    """Knows what is due, and what was asked for.

    What makes a due time count once is the run's idempotency key, whoever asks. The file only tells
    from when on to look: a schedule that is new begins with its next time, one that was due while
    no beat ran is made up for, once.
    """

    def __init__(self, schedules: Sequence[Schedule], dispatch: Dispatch, file: Path) -> None:
        self._schedules = {_key(schedule): schedule for schedule in schedules}
        self._crons = {key: Cron.parse(each.cron) for key, each in self._schedules.items()}
        self._dispatch = dispatch
        self._file = file
        self._asked = self._read()

    def ask(self, now: datetime) -> list[Run]:
        """Ask for what is due; return the runs, those that another beat asked for among them.

        Raises:
            StateError: the run store is away; nothing is forgotten.
        """
        runs = []
        for key, schedule in self._schedules.items():
            due = self._crons[key].latest(now)
            if key in self._asked and due > self._asked[key]:
                run = new_run(
                    schedule.reason, now, queue=schedule.queue, overrides=schedule.overrides
                )
                idempotency_key = f"schedule {key} {due.isoformat()}"
                runs.append(self._dispatch.post(run, now, idempotency_key=idempotency_key))
                _log.info("scheduled run", run_id=runs[-1].run_id, cron=schedule.cron, due=due)
            self._note(key, due)
        return runs

    def _note(self, key: str, due: datetime) -> None:
        if self._asked.get(key) == due:
            return
        self._asked[key] = due
        known = {name: at.isoformat() for name, at in self._asked.items() if name in self._crons}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # A place of its own: in containers each beat may be process 1.
            with TemporaryDirectory(dir=self._file.parent, prefix=".beat-") as folder:
                unfinished = Path(folder) / self._file.name
                unfinished.write_text(json.dumps(known), encoding="utf-8")
                unfinished.replace(self._file)
        except OSError as error:
            # It goes on from memory; what a beat that follows asks for again counts once.
            _log.warning("state of beat cannot be kept", file=str(self._file), error=str(error))

    def _read(self) -> dict[str, datetime]:
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(name): datetime.fromisoformat(at) for name, at in known.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError):
            # Worth a warning and no more: each schedule goes on with its next time.
            _log.warning("state of beat cannot be read, and is made anew", file=str(self._file))
            return {}


class _Scheduler:
    """What Celery's beat calls: like its own schedulers, but for runs in place of tasks."""

    max_interval = _LONGEST_SLEEP

    def __init__(self, calendar: Calendar, sign_of_life: SignOfLife) -> None:
        self._calendar = calendar
        self._sign_of_life = sign_of_life

    def tick(self) -> float:
        """Do what is due; return the seconds until the next look."""
        self._sign_of_life.give()
        now = datetime.now(UTC)
        try:
            self._calendar.ask(now)
        except StateError as error:
            _log.warning("schedules wait for the run store", error=str(error))
            return _RETRY_SECONDS
        minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return max(0.01, (minute - datetime.now(UTC)).total_seconds())

    def should_sync(self) -> bool:
        """Return False: each due time is noted at once."""
        return False

    def close(self) -> None:
        """Do nothing: nothing is open."""


def run_beat(app: Celery, calendar: Calendar, sign_of_life: SignOfLife) -> int:
    """Run until SIGTERM or Ctrl-C; return the exit code."""
    _log.info("beat starts")
    Service(app, scheduler_cls=lambda **_: _Scheduler(calendar, sign_of_life)).start()
    _log.info("beat ends")
    return 0


def _key(schedule: Schedule) -> str:
    """Return what tells schedules apart: all that they say, so one that is changed is new."""
    return sha256(schedule.model_dump_json().encode()).hexdigest()[:16]
