"""The composition root of the service: the only place that names its store and its broker."""

from __future__ import annotations

import os
import signal
import socket
import uuid
from datetime import timedelta
from types import FrameType
from typing import NoReturn

from celery import Celery

from shared.errors import SettingsError
from shared.listening import check_host
from shared.settings import PREFIX, load_settings
from shared.task import load_task
from shared.tokens import TokenBook, read_tokens
from training_pipeline.service.delivery.celery import CeleryDelivery, celery_app
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.sql import SqlRunStore
from training_pipeline.service.sign_of_life import SignOfLife
from training_pipeline.settings import TrainingSettings


def serve(settings: TrainingSettings) -> int:
    """Serve the HTTP face; return the exit code.

    Raises:
        FtiError: the settings or the task do not allow a start.
    """
    from training_pipeline.service.api.app import create_app
    from training_pipeline.service.api.event_stream import Listeners
    from training_pipeline.service.api.metrics import ServiceMetrics
    from training_pipeline.service.api.process import run_server
    from training_pipeline.service.api.readiness import Readiness

    _end_in_order()
    tokens = _tokens(settings)
    task_file = settings.task.absolute()
    task = load_task(task_file)
    store = SqlRunStore(settings.runs_address)
    delivery = CeleryDelivery(_celery(settings))
    metrics = ServiceMetrics(store)
    listeners = Listeners(settings.training_listeners, metrics.listeners)
    app = create_app(
        task_name=task.name,
        task_file=task_file,
        store=store,
        dispatch=Dispatch(store, delivery),
        metrics=metrics,
        readiness=Readiness(store, delivery, task_file, task.name),
        listeners=listeners,
        tokens=tokens,
    )
    return run_server(app, listeners, host=settings.training_host, port=settings.training_port)


def work(settings: TrainingSettings, queues: tuple[str, ...]) -> int:
    """Execute runs; return the exit code.

    Raises:
        FtiError: the task cannot be read.
    """
    from training_pipeline.service.work.child import TrainingChild
    from training_pipeline.service.work.execution import Execution
    from training_pipeline.service.work.kept_results import KeptResults
    from training_pipeline.service.work.leftovers import Leftovers
    from training_pipeline.service.work.upkeep import Chore, Upkeep
    from training_pipeline.service.work.worker import Worker

    _end_in_order()
    task_file, home = settings.task.absolute(), settings.training_home
    load_task(task_file)
    app = _celery(settings)
    store = SqlRunStore(settings.runs_address)
    dispatch = Dispatch(store, CeleryDelivery(app))
    # A name of its own each time: one that was lost must not be taken for the one that follows.
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    environment = _child_environment(settings)
    child = TrainingChild(
        environment,
        warm=settings.training_warm,
        processes=settings.training_processes,
        grace=settings.training_grace_seconds,
    )
    execution = Execution(
        worker=name,
        store=store,
        dispatch=dispatch,
        child=child,
        home=home,
        task_file=task_file,
        lease=timedelta(seconds=settings.training_lease_seconds),
    )
    kept = KeptResults(store, home, name, environment)
    leftovers = Leftovers(store, home, timedelta(days=settings.training_keep_days))
    upkeep = Upkeep(
        store=store,
        dispatch=dispatch,
        execution=execution,
        queues=queues,
        chores=(Chore(30, kept.register), Chore(600, leftovers.remove)),
        sign_of_life=SignOfLife(settings.training_alive_file),
    )
    return Worker(app, queues, execution=execution, child=child, upkeep=upkeep).run()


def beat(settings: TrainingSettings) -> int:
    """Ask for runs by the task's schedules; return the exit code.

    Raises:
        FtiError: the task cannot be read, or has no schedules.
    """
    from training_pipeline.service.beat import Calendar, run_beat

    _end_in_order()
    task = load_task(settings.task.absolute())
    app = _celery(settings)
    store = SqlRunStore(settings.runs_address)
    calendar = Calendar(
        task.training.schedules,
        Dispatch(store, CeleryDelivery(app)),
        settings.training_home / "beat.json",
    )
    return run_beat(app, calendar, SignOfLife(settings.training_alive_file))


def queues_of(given: str | None, settings: TrainingSettings) -> tuple[str, ...]:
    """Return the queues that a worker listens on: as the command line says, or else the settings.

    Raises:
        SettingsError: they have names that no queue has.
    """
    if given is not None:
        environment = {**os.environ, f"{PREFIX}TRAINING_QUEUES": given}
        try:
            settings = load_settings(TrainingSettings, environment)
        except SettingsError as error:
            raise SettingsError("--queues", expected=error.expected, found=error.found) from None
    return tuple(dict.fromkeys(settings.training_queues.split(",")))


def _celery(settings: TrainingSettings) -> Celery:
    return celery_app(
        settings.training_broker.get_secret_value(), settings.training_home / "messages"
    )


def _tokens(settings: TrainingSettings) -> TokenBook | None:
    from training_pipeline.service.api.access import SCOPES

    guarded = settings.training_tokens_file is not None or settings.training_open
    check_host(
        settings.training_host,
        setting="FTI_TRAINING_HOST",
        guarded=guarded,
        open_setting="FTI_TRAINING_TOKENS_FILE to a file of tokens, or FTI_TRAINING_OPEN to true if"
        " something in front of the service guards it",
    )
    if settings.training_tokens_file is None:
        return None
    return read_tokens(
        settings.training_tokens_file, scopes=SCOPES, setting="FTI_TRAINING_TOKENS_FILE"
    )


def _child_environment(settings: TrainingSettings) -> dict[str, str]:
    """Return this process's environment, with the settings that a child must share."""
    return {**os.environ, f"{PREFIX}HOME": str(settings.home), f"{PREFIX}LOG_FORMAT": "json"}


def _end_in_order() -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        # uvicorn drains, then raises the signal again: that end is an orderly one.
        signal.signal(ending, _leave)


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
