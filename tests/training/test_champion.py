from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ContractError
from shared.manifest import MANIFEST_FILE, Golden, Manifest, Variant, sha256_of
from shared.subjects import SourceRules, SubjectRules
from tests.training.sample import LABELS, MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import load_tokenizer
from training_pipeline.evaluation.champion import (
    ChampionPackage,
    FeatureSchema,
    champion_labels,
    compare_champion,
)
from training_pipeline.evaluation.comparison import MIN_ROWS, Comparison, Uncompared
from training_pipeline.export import export
from training_pipeline.fit import fit
from training_pipeline.onnx_model import OnnxModel
from training_pipeline.progress import Silent
from training_pipeline.rows import Rows

SCHEMA = FeatureSchema("f" * 64, ["mentions", "share"])


@pytest.fixture(scope="module")
def package(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> ChampionPackage:
    """A version whose labels and features stand in another order than the task's do now."""
    folder = tmp_path_factory.mktemp("champion")
    tokenizer = load_tokenizer(tiny_encoder, MAX_LENGTH)
    task = sample_task(tiny_encoder, epochs=5)
    rows = sample_rows(150)
    swapped = replace(rows, labels=1 - rows.labels, features=rows.features[:, ::-1].copy())
    model = fit(swapped, task, base=tiny_encoder, tokenizer=tokenizer, progress=Silent()).model
    exported = export(model, tokenizer, folder, max_length=MAX_LENGTH)
    manifest = Manifest(
        task="flights",
        labels=LABELS[::-1],
        feature_service="flights",
        feature_hash=SCHEMA.hash,
        features=["share", "mentions"],
        max_length=MAX_LENGTH,
        pad_token_id=0,
        tokenizer_sha256=sha256_of(folder / "tokenizer.json"),
        variants={
            "fp32": Variant(
                file="model.onnx",
                sha256=sha256_of(exported.path),
                label_agreement=1.0,
                max_logit_difference=0.0,
            )
        },
        golden=Golden(text="late", logits=[0.0, 0.0]),
        subjects=SubjectRules(),
        sources=SourceRules(),
        metrics={},
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
    return ChampionPackage("4", folder)


def compare(
    package: ChampionPackage | None,
    rows: Rows,
    *,
    schema: FeatureSchema = SCHEMA,
    labels: list[str] = LABELS,
) -> Comparison | Uncompared:
    """Compare a model that mistakes nothing with the champion."""
    return compare_champion(package, rows.labels, rows, labels=labels, schema=schema, seed=1)


def test_labels_and_features_go_by_name(package: ChampionPackage, tiny_encoder: Path) -> None:
    """The champion reads the columns that it knows, and its labels are found among the task's."""
    rows = sample_rows(MIN_ROWS, seed=1)
    manifest = Manifest.model_validate_json((package.folder / MANIFEST_FILE).read_bytes())
    found = champion_labels(package.folder, manifest, rows, labels=LABELS, schema=SCHEMA)
    model = OnnxModel(
        package.folder / "model.onnx",
        load_tokenizer(tiny_encoder, MAX_LENGTH),
        max_length=MAX_LENGTH,
    )
    theirs = model.logits(rows.texts.tolist(), rows.features[:, ::-1].copy()).argmax(axis=1)
    assert np.array_equal(found, 1 - theirs)
    assert np.mean(found == rows.labels) > 0.9


def test_the_same_rows_are_compared(package: ChampionPackage) -> None:
    """The comparison names the champion and counts the rows on which the two differ."""
    rows = sample_rows(MIN_ROWS, seed=1)
    found = compare(package, rows)
    assert isinstance(found, Comparison)
    assert (found.champion, found.rows, found.accuracy) == ("4", MIN_ROWS, 1.0)
    assert len(found.lost) == 0
    assert found.difference == pytest.approx(len(found.gained) / MIN_ROWS)


@pytest.mark.parametrize(
    ("count", "schema", "labels", "reason"),
    [
        (MIN_ROWS - 1, SCHEMA, LABELS, "held-out rows cannot tell a loss"),
        (MIN_ROWS, replace(SCHEMA, hash="e" * 64), LABELS, "champion 4 reads other features"),
        (MIN_ROWS, SCHEMA, ["negative", "fine"], "champion 4 knows other labels"),
    ],
)
def test_what_cannot_be_compared_is_told(
    package: ChampionPackage, count: int, schema: FeatureSchema, labels: list[str], reason: str
) -> None:
    """Few rows, other features or other labels: no comparison, and the reason."""
    found = compare(package, sample_rows(count), schema=schema, labels=labels)
    assert isinstance(found, Uncompared)
    assert reason in found.reason


def test_no_champion_is_told() -> None:
    """A task's first version has nothing to be compared with."""
    assert compare(None, sample_rows(MIN_ROWS)) == Uncompared("there is no champion yet")


def test_a_damaged_champion_is_an_error(package: ChampionPackage, tmp_path: Path) -> None:
    """Files that are not what the manifest says are never asked."""
    for file in package.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ContractError, match="SHA-256"):
        compare(ChampionPackage("4", tmp_path), sample_rows(MIN_ROWS))
