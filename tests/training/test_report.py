from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from shared.task import Gate
from tests.training.evaluated import evaluated, with_text
from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.evaluation.measurements import measurements
from training_pipeline.gate.rules import judge
from training_pipeline.registry import PastVersion
from training_pipeline.report.page import Training, report
from training_pipeline.result import RowCounts

HOSTILE = "<script>alert('x')</script> & \"late\""
VOID = {"meta"}


class Elements(HTMLParser):
    """Collects elements and text; elements that do not close in order fail."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(evaluation: Evaluation, gate: Gate | None = None, *, reason: str = "a test") -> str:
    """Return the report of an evaluation, with one version before it."""
    past = PastVersion("1", "passed", {"accuracy": 0.8, "macro_f1": 0.7})
    return report(
        Training(
            task="flights",
            reason=reason,
            rows=RowCounts(labelled=1_000, folded=10, train=790, holdout=200),
            losses=[1.0 / step for step in range(1, 100)],
            evaluation=evaluation,
            verdict=judge(gate or Gate(), evaluation),
            metrics=measurements(evaluation),
            history=[past],
        )
    )


def read(html: str) -> Elements:
    """Return the elements of a page that is well formed."""
    elements = Elements()
    elements.feed(html)
    elements.close()
    assert elements.open == []
    return elements


def test_the_page_is_one_file() -> None:
    """Nothing is fetched and nothing runs: no link, no image, no script, no address."""
    html = page(evaluated(champion_wrong=20), Gate(min_accuracy=0.95, max_p95_ms=1))
    found = read(html)
    assert found.seen.isdisjoint({"script", "link", "img", "iframe", "object", "a"})
    assert found.attributes.isdisjoint({"src", "href", "onload", "onclick"})
    assert not re.search(r"https?:|url\(|@import", html)


def test_texts_are_escaped() -> None:
    """Texts, labels and reasons are data: a text with markup shows as it is."""
    evaluation = with_text(evaluated(), HOSTILE)
    html = page(evaluation, Gate(min_accuracy=0.95), reason=HOSTILE)
    assert "<script" not in html
    assert read(html).text.count(HOSTILE) > 2


def test_the_page_tells_all_there_is() -> None:
    """Each section is there, the verdict with the rows that show a failure."""
    told = read(page(evaluated(champion_wrong=20), Gate(min_accuracy=0.95))).text
    for part in (
        "Gate failed.",
        "accuracy (int8): wanted at least 0.9500, got 0.9000",
        "m00000",
        "linear baseline",
        "of version 3",
        "macro F1",
        "truly negative",
        "Expected calibration error",
        "subject delta",
        "negated praise",
        "mean loss of 20 steps",
    ):
        assert part in told


def test_what_is_not_there_is_said() -> None:
    """Without champion, behavioural tests or slices the page says so."""
    bare = replace(evaluated(behaviour=()), slices=())
    told = read(page(bare)).text
    assert "Not compared: there is no champion yet." in told
    assert "The task names no behavioural tests." in told
    assert "No slice has enough rows." in told
