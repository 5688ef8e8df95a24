"""This system's training loop as a contender: ``fit``, as the pipeline calls it."""

from __future__ import annotations

from benchmarks.training.contender import Job, Speed, Stopwatch
from training_pipeline.fit import Execution, fit, processes_of
from training_pipeline.fit.examples import Order
from training_pipeline.progress import Silent


class _Timed(Silent):
    def __init__(self) -> None:
        self.watch = Stopwatch()

    def step(self, done: int, total: int, **figures: float) -> None:  # noqa: ARG002 - a protocol's
        self.watch.step_ended()


def fit_with_this_loop(job: Job) -> Speed:
    """Fit the job and return how fast its steps were."""
    timed = _Timed()
    with processes_of({}) as processes:
        fitted = fit(
            job.rows,
            job.task,
            base=job.base,
            tokenizer=job.tokenizer,
            progress=timed,
            execution=Execution(processes),
        )
    order = Order(job.examples.lengths, job.task.training)  # the one that the fit went by
    batches = [job.examples.lengths[order.batch(step)] for step in range(order.steps)]
    shapes = [(len(batch), int(batch.max()), int(batch.sum())) for batch in batches]
    return timed.watch.speed(shapes, fitted.losses)
