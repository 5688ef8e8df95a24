"""The loop: history in, a model out and served; events change features; a retraining is swapped in.

Each stage says what it does, does it, and returns what it proved.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo.load import SteadyLoad
from demo.proof import Outcome, Proof, require
from demo.system import System
from feature_pipeline.batch.history import History, read_history
from feature_pipeline.definition.records import KnownLabel, KnownMention
from shared.text import normalise

_SHOWN_TEXTS = 3
_BATCH = 100
_STREAM_SECONDS = 60.0
_TRAIN_SECONDS = 1_800.0
_SWAP_SECONDS = 60.0
_CALLS_AFTER_SWAP = 10


@dataclass
class Loop:
    """The stages, in order."""

    system: System
    input_file: Path
    unseen_count: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: str = ""
    labelled: int = 0

    def run(self) -> list[Proof]:
        """Run all stages; raises StateError where one does not prove what it must."""
        proofs = []
        stages = (self.backfill, self.train, self.serve, self.stream, self.retrain)
        for number, stage in enumerate(stages, start=1):
            self.system.console.rule(f"{number}. {stage.__name__}", align="left")
            begin = time.monotonic()
            outcome = stage()
            proofs.append(Proof(stage.__name__, outcome, time.monotonic() - begin))
        return proofs

    def backfill(self) -> Outcome:
        """History goes through the batch path into the offline and the online store."""
        self._say(
            "History becomes features. The batch path (Polars) computes sliding windows over it and"
            " writes Delta tables (offline) and the latest value of each key (online)."
            f" The newest {self.unseen_count} mentions are held back, to be streamed later."
        )
        if self.system.task.input.replay is not None:
            self._say("Arrival times are simulated: these texts carry none.")
        self.system.command(
            "feature_pipeline",
            "backfill",
            *("--input", str(self.input_file), "--now", self.now.isoformat()),
            *("--hold-back", str(self.unseen_count)),
        )
        return Outcome(
            did=f"loaded {self.input_file.name} into Feast",
            proved="history is in both stores, rejected rows are kept with their reasons",
        )

    def train(self) -> Outcome:
        """A model is trained from Feast, gated and registered."""
        self._say(
            "A model is trained from point-in-time rows: each text sees the features as they were"
            " just before it came. It must beat a linear baseline, and its ONNX export must agree"
            " with torch, or the alias champion does not move."
        )
        result_file = self.system.home / "first-training.json"
        self.system.command("training_pipeline", "train", "--result", str(result_file))
        result = json.loads(result_file.read_text())
        self.version = str(result["version"])
        self.labelled = result["rows"]["labelled"]
        return Outcome(
            did=f"trained on {result['rows']['train']:,} texts,"
            f" tested on {result['rows']['holdout']:,} newer ones",
            proved=f"{_accuracy(result['metrics'])}; the gate passed,"
            f" version {self.version} is champion",
        )

    def serve(self) -> Outcome:
        """The champion answers over HTTP, with features joined."""
        self._say("The services start. The inference server loads the champion and answers.")
        self.system.start()
        shown = [known.mention for known in self._unseen.mentions[:_SHOWN_TEXTS]]
        asked = [
            mention.model_dump(include={"text", "subject_id", "source_id"}) for mention in shown
        ]
        answer = self.system.post("inference", "/v1/predict", {"mentions": asked})
        require(
            answer["model"]["version"] == self.version,
            stage="serve",
            expected=f"answers of version {self.version}",
            found=str(answer["model"]),
        )
        for mention, prediction in zip(shown, answer["predictions"], strict=True):
            self._show_prediction(mention.text, prediction)
        return Outcome(
            did=f"asked for {len(shown)} predictions on texts that no training saw",
            proved=f"version {self.version} answered, with what it knew of each subject and source",
        )

    def stream(self) -> Outcome:
        """Events change the online features."""
        subjects = Counter(known.mention.subject_id for known in self._unseen.mentions)
        subject, count = subjects.most_common(1)[0]
        self._say(
            f"{self.unseen_count} unseen texts are posted as events, {count} of them about"
            f" {subject}. The Bytewax stream brings them into the same features."
        )
        window = self.system.task.activity.spans[-1].name
        names = [f"{what}_{window}" for what in ("mentions", *self.system.task.labels)]
        before = self.system.online(subject, [*names, "last_seen"])
        # One mention first: once it shows, the stream has caught up with the clock, and what comes
        # next can be counted exactly.
        mentions = self._unseen.mentions
        first = next(known for known in mentions if known.mention.subject_id == subject)
        self._post_events([first], [])
        with self.system.console.status("Waiting for the stream to catch up"):
            self.system.processes.wait_until(
                lambda: (
                    self.system.online(subject, ["last_seen"])["last_seen"] != before["last_seen"]
                ),
                f"the first event of {subject}",
                _STREAM_SECONDS,
            )
        caught_up = self.system.online(subject, names)
        rest, labels = [known for known in mentions if known is not first], self._unseen.labels
        added = _counts(rest, labels, subject, window)
        expected = {name: caught_up[name] + added[name] for name in names}
        self._post_events(rest, labels)
        posted = time.monotonic()
        with self.system.console.status("Waiting for the stream"):
            self.system.processes.wait_until(
                lambda: self.system.online(subject, names) == expected,
                f"features of {subject}",
                _STREAM_SECONDS,
            )
        seconds = time.monotonic() - posted
        for name in names:
            self._print(f"  {name:<22} {before[name]:>8,} → {expected[name]:>8,}")
        return Outcome(
            did=f"posted {len(self._unseen.mentions)} mentions and"
            f" {len(self._unseen.labels)} labels as events",
            proved=f"{names[0]} of {subject} went online from {before[names[0]]:,} to"
            f" {expected[names[0]]:,}, {seconds:.1f} s after the last post",
        )

    def retrain(self) -> Outcome:
        """A retraining asked for over HTTP puts a new version into the running server."""
        self._say(
            "A retraining is asked for over HTTP, on history and the streamed events."
            " Meanwhile predictions are asked for all the time."
        )
        texts = [known.mention.text for known in self._unseen.mentions]
        with SteadyLoad(self.system.url("inference"), texts) as load:
            run = self._retraining()
            version = str(run["result"]["version"])
            with self.system.console.status(f"Waiting for version {version} to be served"):
                self.system.processes.wait_until(
                    lambda: load.versions[version] >= _CALLS_AFTER_SWAP,
                    f"answers of version {version}",
                    _SWAP_SECONDS,
                )
        require(
            not load.failures,
            stage="retrain",
            expected="no failed request",
            found=f"{len(load.failures)} of {load.requests}: {load.failures[:1]}",
        )
        grown = run["result"]["rows"]["labelled"] - self.labelled
        require(grown > 0, stage="retrain", expected="more labelled texts", found=f"{grown} more")
        return Outcome(
            did=f"retrained on data grown by {grown} labelled texts;"
            f" {_accuracy(run['result']['metrics'])}",
            proved=f"the server went from version {self.version} to {version};"
            f" {load.requests:,} requests meanwhile, none failed",
        )

    @cached_property
    def _unseen(self) -> History:
        return read_history(self.input_file, self.system.task, self.now).newest(self.unseen_count)

    def _post_events(self, mentions: list[KnownMention], labels: list[KnownLabel]) -> None:
        posts = {
            "mentions": [known.mention.model_dump(mode="json") for known in mentions],
            "labels": [known.label.model_dump(mode="json") for known in labels],
        }
        for kind, items in posts.items():
            for start in range(0, len(items), _BATCH):
                batch = items[start : start + _BATCH]
                outcome = self.system.post("features", f"/v1/{kind}", {kind: batch})
                require(
                    outcome["accepted"] == len(batch),
                    stage="stream",
                    expected=f"{len(batch)} {kind} accepted",
                    found=json.dumps(outcome)[:500],
                )

    def _retraining(self) -> dict[str, Any]:
        """Ask for a retraining and show its progress until it has succeeded."""
        asked = self.system.post("training", "/v1/runs", {"reason": "the demo's grown data"})
        path = f"/v1/runs/{asked['run_id']}"
        run: dict[str, Any] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.system.console) as progress:
            bar = progress.add_task("queued", total=1.0)

            def ended() -> bool:
                run.update(self.system.get("training", path))
                stage = run["stage"] or run["state"]
                progress.update(bar, description=f"{stage:<10}", completed=run["progress"])
                return run["state"] not in {"queued", "running"}

            self.system.processes.wait_until(ended, f"run {asked['run_id']}", _TRAIN_SECONDS)
        require(
            run["state"] == "succeeded",
            stage="retrain",
            expected="a run that succeeds",
            found=json.dumps({key: run[key] for key in ("state", "error", "result")})[:800],
        )
        return run

    def _show_prediction(self, text: str, prediction: dict[str, Any]) -> None:
        chance = prediction["probabilities"][prediction["label"]]
        states = ", ".join(
            f"{view} {state['status']}" for view, state in prediction["features"].items()
        )
        self._print(f"  {prediction['label']:>10} {chance:4.0%}  {normalise(text)[:90]!r}")
        self._print(f"{'':>18}subject {prediction['subject_id']}; {states}")

    def _say(self, text: str) -> None:
        self.system.console.print(text, highlight=False)

    def _print(self, line: str) -> None:
        self.system.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _counts(
    mentions: list[KnownMention], labels: list[KnownLabel], subject: str, window: str
) -> Counter[str]:
    """Return by how much events raise the counts of a subject in a window."""
    of_subject = sum(known.mention.subject_id == subject for known in mentions)
    counts = Counter({f"mentions_{window}": of_subject})
    counts.update(
        f"{known.label.label}_{window}" for known in labels if known.subject_id == subject
    )
    return counts


def _accuracy(metrics: dict[str, float]) -> str:
    return f"accuracy {metrics['accuracy']:.3f} against {metrics['baseline_accuracy']:.3f} linear"
