"""The documents say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from feature_pipeline.settings import FeatureSettings
from inference_pipeline.settings import InferenceSettings
from shared.settings import PREFIX
from training_pipeline.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_operations_lists_every_setting() -> None:
    """The table of settings holds each variable that a service reads, and no other."""
    listed = set(re.findall(r"`(FTI_[A-Z_]+)`", (ROOT / "docs" / "operations.md").read_text()))
    kinds = (FeatureSettings, TrainingSettings, InferenceSettings)
    read = {PREFIX + name.upper() for kind in kinds for name in kind.model_fields}
    assert listed == read


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link points to a file or folder that is there."""
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [
        link for link in links if "://" not in link and not (document.parent / link).exists()
    ]
    assert missing == []
