"""The four things that a user does, one after the other, against the running stack."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo.load import SteadyLoad
from demo.proof import Outcome, Proof, require
from demo.stack.client import Stack, wait_until
from feature_pipeline.batch.history import History, read_history
from shared.task import Task

_STREAM_SECONDS = 120.0
_TOLD_SECONDS = 2.0
"""The gateway asks its log once a second: what it tells sooner may be from before the posts."""
_TRAIN_SECONDS = 1_800.0
_SERVED_SECONDS = 60.0
_SCRAPED_SECONDS = 60.0
_SHOWN = 3
_UNFINISHED = {"queued", "running", "cancelling", "unregistered"}
_SERVICES = ("gateway", "stream", "training", "inference")


@dataclass
class Smoke:
    """The steps, in order. Run again, it streams the same events, which count once."""

    stack: Stack
    console: Console
    task: Task
    sample: Path
    mentions: int

    def run(self) -> list[Proof]:
        """Do all steps; raises StateError where one does not prove what it must."""
        proofs = []
        steps = (self.stream, self.train, self.predict, self.retrain, self.look)
        for number, step in enumerate(steps, start=1):
            self.console.rule(f"{number}. {step.__name__}", align="left")
            begin = time.monotonic()
            outcome = step()
            self.console.print(outcome.proved, highlight=False)
            proofs.append(Proof(step.__name__, outcome, time.monotonic() - begin))
        return proofs

    def stream(self) -> Outcome:
        """Post mentions and labels; the stream turns them into features."""
        mentions = [known.mention.model_dump(mode="json") for known in self._events.mentions]
        labels = [known.label.model_dump(mode="json") for known in self._events.labels]
        new, known = self.stack.stream("mentions", mentions)
        self.stack.stream("labels", labels)
        posted = time.monotonic()
        with self.console.status("Waiting for the stream"):
            seconds = wait_until(
                lambda: time.monotonic() - posted > _TOLD_SECONDS and self.stack.backlog() == 0,
                "an empty backlog",
                _STREAM_SECONDS,
            )
        return Outcome(
            did=f"posted {len(mentions):,} mentions and {len(labels):,} labels",
            proved=f"{new:,} mentions were new, {known:,} known; the stream was done"
            f" {seconds:.0f} s after the last post",
        )

    def train(self) -> Outcome:
        """Make a first version, if none serves yet."""
        if (version := self._served()) is not None:
            return Outcome("nothing", f"version {version} serves already")
        result = self._trained("a first version")
        self._wait_for(str(result["version"]))
        return Outcome(
            did=f"trained on {result['rows']['train']:,} texts",
            proved=f"version {result['version']} passed the gate and is served;"
            f" {_accuracy(result['metrics'])}",
        )

    def predict(self) -> Outcome:
        """Ask for predictions; they name the version and what was known of the subject."""
        asked = [
            known.mention.model_dump(include={"text", "subject_id", "source_id"})
            for known in self._events.mentions[:_SHOWN]
        ]
        answer = self.stack.post("inference", "/v1/predict", {"mentions": asked})
        for mention, prediction in zip(asked, answer["predictions"], strict=True):
            self.console.print(
                f"  {prediction['label']:>10}  {mention['text'][:80]!r}",
                markup=False,
                highlight=False,
            )
        states = {
            view["status"] for found in answer["predictions"] for view in found["features"].values()
        }
        require(
            "present" in states and not answer.get("degraded"),
            stage="predict",
            expected="predictions with features",
            found=str(answer)[:500],
        )
        return Outcome(
            did=f"asked for {len(asked)} predictions",
            proved=f"version {answer['model']['version']} answered, with features",
        )

    def retrain(self) -> Outcome:
        """Ask for a retraining while predictions are asked for all the time."""
        texts = [known.mention.text for known in self._events.mentions[:100]]
        before = self._served()
        address, token = self.stack.addresses["inference"], self.stack.token
        with SteadyLoad(address, texts, token=token) as load:
            result = self._trained("a smoke test")
            self._wait_for(str(result["version"]))
        require(
            not load.failures,
            stage="retrain",
            expected="no failed request",
            found=f"{len(load.failures)} of {load.requests}: {load.failures[:1]}",
        )
        return Outcome(
            did=f"retrained while {load.requests:,} predictions were asked for",
            proved=f"the server went from version {before} to {result['version']}, no request"
            " failed",
        )

    def look(self) -> Outcome:
        """Look at the metrics: every service is watched, and what was done shows."""
        up = f'up{{job=~"{"|".join(_SERVICES)}"}}'
        with self.console.status("Waiting for Prometheus to look"):
            wait_until(
                lambda: (
                    self.stack.figure(up) == len(_SERVICES)
                    and self.stack.figure("fti_inference_mentions_total") > 0
                ),
                "figures of all services in Prometheus",
                _SCRAPED_SECONDS,
            )
        mentions = self.stack.figure("fti_inference_mentions_total")
        events = self.stack.figure("fti_gateway_events_total")
        return Outcome(
            did="asked Prometheus",
            proved=f"{len(_SERVICES)} services are watched; {events:,.0f} events and"
            f" {mentions:,.0f} predictions since they started",
        )

    @cached_property
    def _events(self) -> History:
        history = read_history(self.sample, self.task, datetime.now(UTC))
        return history.newest(self.mentions)

    def _served(self) -> str | None:
        """Return the version that serves; None if none does."""
        models = self.stack.get("inference", "/v1/models")["models"]
        champions = [
            version["version"]
            for model in models
            for version in model["versions"]
            if version["alias"] == "champion"
        ]
        return str(champions[0]) if champions else None

    def _wait_for(self, version: str) -> None:
        with self.console.status(f"Waiting for version {version} to be served"):
            wait_until(
                lambda: self._served() == version, f"answers of version {version}", _SERVED_SECONDS
            )

    def _trained(self, reason: str) -> dict[str, Any]:
        """Ask for a training and show its progress; return the result of a run that succeeded."""
        path = f"/v1/runs/{self.stack.post('training', '/v1/runs', {'reason': reason})['run_id']}"
        run: dict[str, Any] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("queued", total=1.0)

            def ended() -> bool:
                run.update(self.stack.get("training", path))
                stage = run["stage"] or run["state"]
                progress.update(bar, description=f"{stage:<10}", completed=run["progress"])
                return run["state"] not in _UNFINISHED

            wait_until(ended, path, _TRAIN_SECONDS)
        require(
            run["state"] == "succeeded",
            stage="train",
            expected="a run that succeeds",
            found=str({key: run[key] for key in ("state", "error", "result")})[:800],
        )
        result: dict[str, Any] = run["result"]
        return result


def _accuracy(metrics: dict[str, float]) -> str:
    return f"accuracy {metrics['accuracy']:.3f} against {metrics['baseline_accuracy']:.3f} linear"
