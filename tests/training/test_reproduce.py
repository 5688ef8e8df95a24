"""A version is trained again from what was recorded, whatever came in since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT
from shared.task import Task, load_task
from tests.training.sample import fill_feature_store, sample_mentions, task_text
from training_pipeline.bootstrap import model_registry, training_pipeline
from training_pipeline.cli import build_parser
from training_pipeline.commands.reproduce import reproduce
from training_pipeline.progress import Silent
from training_pipeline.reproduction.comparison import Tier, compare
from training_pipeline.reproduction.record import ReproductionRecord, read_record
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

pytestmark = pytest.mark.usefixtures("one_core")

Edit = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Version:
    """A version that was registered before more came in."""

    settings: TrainingSettings
    number: str
    record: ReproductionRecord
    losses: Sequence[float]

    @property
    def record_file(self) -> Path:
        """The record, as MLflow keeps it."""
        (found,) = (self.settings.home / "mlflow" / "artifacts").glob("*/artifacts/repro.json")
        return found

    def again(self, folder: Path, stop: StopRequest | None = None) -> tuple[int, dict[str, Any]]:
        """Reproduce it; return the exit code, and what was written as JSON."""
        line = ["reproduce", self.number, "--json", str(folder / "out.json")]
        code = reproduce(build_parser().parse_args(line), self.settings, stop)
        return code, json.loads((folder / "out.json").read_text())


@pytest.fixture(scope="module")
def version(
    tiny_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    one_core: None,  # noqa: ARG001 - the record tells how many there are
) -> Version:
    """Train a version; then labels are corrected, and mentions come in."""
    home = tmp_path_factory.mktemp("home")
    (home / "task.toml").write_text(task_text(tiny_encoder))
    settings = TrainingSettings(home=home, task=home / "task.toml", training_allow_dirty=True)
    mentions, labels = sample_mentions(130)
    fill_feature_store(home, mentions.head(120), labels.head(120))
    (home / "making").mkdir()
    result = training_pipeline(settings).run(
        load_task(settings.task), folder=home / "making", progress=Silent(), reason="a test"
    )
    corrected = labels.head(9).with_columns(pl.col(KNOWN_AT) + timedelta(days=1))
    for view, rows in (
        (MENTION_LABEL, corrected.with_columns(label=pl.lit("positive"))),
        (MENTION_TEXT, mentions.tail(10)),
        (MENTION_LABEL, labels.tail(10)),
    ):
        table = home / "offline" / view
        rows.select(pl.read_delta(table).columns).write_delta(table, mode="append")
    past = model_registry(settings).past_training("flights", "champion")
    assert past.version == result.version
    return Version(settings, past.version, read_record(past.record, "record"), past.losses)


@pytest.fixture
def changed(version: Version) -> Iterator[Callable[[Edit], None]]:
    """Change the record in the registry, for one test."""
    content = version.record_file.read_text()

    def change(edit: Edit) -> None:
        document = json.loads(content)
        edit(document)
        version.record_file.write_text(json.dumps(document))

    yield change
    version.record_file.write_text(content)


def test_the_same_bits_though_interrupted_and_though_more_came_in(
    version: Version, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first attempt is stopped; the next goes on from its checkpoint, and nothing differs."""
    stop = StopRequest()
    stop.asked = True
    with pytest.raises(KeyboardInterrupt, match="interrupted after step 1 of"):
        version.again(tmp_path, stop)
    work = version.settings.training_home / "reproductions" / f"flights-{version.number}"
    assert len(list((work / "checkpoints").glob("*.pt"))) == 1
    code, told = version.again(tmp_path)
    assert (code, told["tier"], told["first_difference"]) == (0, "bits", None)
    assert told["now"] == told["recorded"]
    assert "BITS — the same weights" in capsys.readouterr().out
    assert not work.exists()
    registry = model_registry(version.settings)
    assert len(registry.history("flights")) == 1


def test_another_seed_differs_from_the_initial_weights_on(
    version: Version,
    changed: Callable[[Edit], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The head begins with other weights; how far it comes, exit code and JSON agree upon."""
    changed(lambda document: document["task"]["training"].update(seed=8))
    code, told = version.again(tmp_path)
    assert told["first_difference"]["step"] == "initial weights"
    steps = list(dict.fromkeys(difference["step"] for difference in told["differences"]))
    assert steps[:4] == ["initial weights", "loss", "weights", "logits"]
    assert {"labels": 5, "metrics": 6, "none": 7}[told["tier"]] == code
    assert "First difference: initial weights" in capsys.readouterr().out


def test_other_rows_differ_from_the_dataset_on(
    version: Version,
    changed: Callable[[Edit], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table version in which labels were corrected is another dataset."""
    changed(lambda document: document["dataset"]["versions"].update(mention_label=1))
    code, told = version.again(tmp_path)
    assert told["first_difference"]["step"] == "dataset"
    assert code in {5, 6, 7}
    assert "First difference: dataset, sha256" in capsys.readouterr().out


def test_other_libraries_are_told_before_training(
    version: Version,
    changed: Callable[[Edit], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same bits came from another environment, as far as the record tells."""
    changed(lambda document: document["environment"]["libraries"].update(torch="1.0"))
    code, told = version.again(tmp_path)
    assert (code, told["tier"]) == (0, "bits")
    assert told["first_difference"]["what"] == "libraries.torch"
    out = capsys.readouterr().out
    assert out.index("warning: libraries.torch: 1.0 recorded") < out.index("fit …")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda document: document.pop("format"), "format 2, found format 1. It was written by"),
        (
            lambda document: document["task"]["training"].update(optimiser="sgd"),
            "task, training.optimiser: .* This code knows tasks of another shape: check out commit",
        ),
        (lambda document: document.pop("fit"), "version 1, fit: expected"),
        (
            lambda document: document["dataset"]["versions"].update(mention_label=9),
            "Table versions that were vacuumed stay gone",
        ),
    ],
    ids=["format", "task", "damaged", "vacuumed"],
)
def test_what_cannot_be_trained_again_is_refused(
    version: Version, changed: Callable[[Edit], None], tmp_path: Path, edit: Edit, message: str
) -> None:
    """A record of another release, a task of another shape, tables that are gone."""
    changed(edit)
    with pytest.raises(StateError, match=message):
        version.again(tmp_path)


def test_a_folder_with_other_files_is_left_alone(version: Version, tmp_path: Path) -> None:
    """Whoever names the wrong folder to work in loses nothing."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine.txt").touch()
    line = ["reproduce", version.number, "--work", str(tmp_path)]
    with pytest.raises(StateError, match="expected an empty folder, or one of an earlier"):
        reproduce(build_parser().parse_args(line), version.settings)
    assert (tmp_path / "files" / "mine.txt").exists()


def test_an_unknown_version_is_named(version: Version) -> None:
    """A number or an alias that the model does not have."""
    for unknown in ("99", "challenger"):
        with pytest.raises(StateError, match=f"an alias, found '{unknown}'"):
            model_registry(version.settings).past_training("flights", unknown)


def test_tiers(version: Version) -> None:
    """Each tier is what is left when a hash, or a figure, no longer fits."""
    record, other = version.record, "0" * 64

    def tier(**evaluation: object) -> Tier:
        fit = record.fit.model_copy(update={"weight_sha256": other})
        answers = record.evaluation.model_copy(update=evaluation)
        now = record.model_copy(update={"fit": fit, "evaluation": answers})
        return compare(record, now, version.losses, version.losses).tier

    below = record.evaluation.accuracy_band.low - 0.01
    assert compare(record, record, version.losses, version.losses).tier is Tier.BITS
    assert tier() is Tier.LABELS
    assert tier(labels_sha256=other) is Tier.METRICS
    assert tier(labels_sha256=other, accuracy=below) is Tier.NONE
    assert tier(labels_sha256=other, macro_f1=float("nan")) is Tier.NONE


def test_the_first_loss_that_differs_is_named(version: Version) -> None:
    """Steps are counted from 1, and one loss that is not a number is as good as another."""
    nan = float("nan")
    found = compare(version.record, version.record, [1.0, nan, 3.0, 4.0], [1.0, nan, 2.0, 4.5])
    assert [str(one) for one in found.differences] == ["step 3: 3.0 recorded, 2.0 now"]
    assert found.tier is Tier.BITS


def test_a_recorded_task_can_be_read_again() -> None:
    """Durations are written as a task file has them."""
    task = load_task(Path("tasks/brand_mentions.toml"))
    assert Task.model_validate(json.loads(task.model_dump_json())) == task
