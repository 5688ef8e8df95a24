"""Dead letters: kept whole and bounded, found, offered again, dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from feature_pipeline.cli import main
from feature_pipeline.dead_letters import DeadLetter, DeadLetters, DeadLettersFullError, Selection
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.gateway.batch import Batch
from feature_pipeline.gateway.intake import Intake
from feature_pipeline.gateway.replay import Replay, ReplayReport
from shared.errors import InputError
from tests.features.conftest import START, small_task
from tests.features.test_backfill import TASK
from tests.features.test_gateway import LABEL, MENTION

ALL = Selection()


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(tmp_path / "dead.db", max_bytes=100_000)) as table:
        yield table


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog()


def letter(raw: bytes = b"{}", origin: str = "POST /v1/mentions", days: float = 0) -> DeadLetter:
    return DeadLetter(origin, f"bad: {origin}", raw, START + timedelta(days=days))


def posted(kind: str, *items: object) -> bytes:
    return json.dumps({kind: items}).encode()


def test_letters_are_selected(letters: DeadLetters) -> None:
    """By the beginning of the origin, a part of the reason, and when they came."""
    letters.add([letter(origin=f"day{n}.csv, line 1", days=n) for n in range(4)])

    def found(which: Selection) -> list[str]:
        assert letters.count(which) == len(letters.read(9, which))
        return [one.origin[3] for one in letters.read(9, which)]

    assert found(ALL) == ["3", "2", "1", "0"]
    assert found(Selection(origin="day2")) == ["2"]
    assert found(Selection(reason="y1.c")) == ["1"]
    since, before = START + timedelta(days=1), START + timedelta(days=3)
    assert found(Selection(since=since, before=before)) == ["2", "1"]
    assert found(Selection(id=letters.read(1)[0].id)) == ["3"]
    assert letters.purge(Selection(before=since)) == 1
    assert found(ALL) == ["3", "2", "1"]


def test_room_is_bounded_and_comes_back(letters: DeadLetters) -> None:
    """Letters beyond the room are refused, none is dropped for them; purged room is used again."""
    letters.add([letter(b"x" * 70_000)])
    with pytest.raises(DeadLettersFullError, match="dead-letters"):
        letters.add([letter(b"small"), letter(b"y" * 50_000)])
    assert letters.count() == 1
    letters.purge(ALL)
    letters.add([letter(b"y" * 50_000)])
    assert letters.read()[0].raw == b"y" * 50_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_item_is_kept_as_it_came(encoding: str) -> None:
    """An item's bytes are a part of the body, not what is made of it: spaces, digits, order."""
    first, second = '{ "b": 1.50, "a":1, "a" : 2}', '[1,  "é\\u00e9"]'
    body = f' {{"mentions": 1, "mentions"\n:\t[{first} ,\r\n {second} ]}} '.encode(encoding)
    batch = Batch.read("mentions", body, 5)
    assert [batch.raw(0), batch.raw(1)] == [first.encode(), second.encode()]


def test_mended_task_lets_letters_in(log: MemoryEventLog, letters: DeadLetters) -> None:
    """After the task was mended, what failed is taken once, mentions before their labels."""
    strict = Intake(small_task(), log, letters, max_batch=9)
    odd = LABEL | {"label": "superb"}
    strict.take(Batch.read("labels", posted("labels", odd, LABEL), 9))
    strict.take(Batch.read("mentions", posted("mentions", MENTION | {"text": 1}), 9))
    letters.replace(letters.read()[0], [letter(json.dumps(MENTION).encode())])
    letters.add([letter(origin="history.csv, line 3")])
    mended = Intake(small_task(labels=["bad", "good", "superb"]), log, letters, max_batch=9)
    replay = Replay(mended, letters)
    assert replay.run(Selection(origin="POST")) == ReplayReport(accepted=3)
    assert replay.run(ALL) == ReplayReport(left=1)
    assert letters.count() == 1


def test_letter_that_fails_again_says_why_today(log: MemoryEventLog, letters: DeadLetters) -> None:
    """What still does not fit stays, with the reason of today; of a body only that part stays."""
    whole = posted("mentions", MENTION, {"mention_id": "2"})
    letters.add([letter(whole), letter(b"no JSON"), letter(b"[1]")])
    report = Replay(Intake(small_task(), log, letters, max_batch=9), letters).run(ALL)
    assert report == ReplayReport(accepted=1, kept=3)
    part, _, item = sorted(letters.read(), key=lambda kept: kept.id)
    assert (part.id, json.loads(part.raw), part.received_at) == (1, {"mention_id": "2"}, START)
    assert "expected a value, found nothing" in part.reason
    assert "an object with named fields" in item.reason
    assert Replay(Intake(small_task(), log, letters, max_batch=9), letters).run(ALL).kept == 3
    assert letters.count() == 3


def test_interrupted_replay_counts_nothing_twice(
    log: MemoryEventLog, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut between the log and the table, the letter is offered again and is a duplicate."""
    letters.add([letter(json.dumps(MENTION).encode())])
    replay = Replay(Intake(small_task(), log, letters, max_batch=9), letters)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(letters, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            replay.run(ALL)
    assert replay.run(ALL) == ReplayReport(duplicates=1)
    assert letters.count() == 0


def test_edited_batch_takes_a_letters_place(log: MemoryEventLog, letters: DeadLetters) -> None:
    """A row of a file goes in as somebody wrote it anew; if it still does not fit it stays."""
    letters.add([letter(b"a,b", origin="history.csv, line 3")])
    replay = Replay(Intake(small_task(), log, letters, max_batch=9), letters)
    (kept,) = letters.read()
    for body in (b"{", posted("mentions", {"mention_id": "1"})):
        with pytest.raises(InputError):
            replay.run_edited(kept, body)
    assert letters.count() == 1
    assert replay.run_edited(kept, posted("mentions", MENTION)) == ReplayReport(accepted=1)
    assert letters.count() == 0


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """List, show, replay and purge on the command line."""
    task, home = tmp_path / "films.toml", tmp_path / "home"
    task.write_text(TASK.replace("NAME", "films"))
    monkeypatch.setenv("FTI_HOME", str(home))
    monkeypatch.setenv("FTI_TASK", str(task))

    def run(*arguments: str) -> str:
        assert main(["dead-letters", *arguments]) == 0
        return capfdbinary.readouterr().out.decode()

    with closing(DeadLetters(home / "features" / "dead_letters.db")) as letters:
        letters.add([letter(b"\xff"), letter(json.dumps(MENTION).encode())])
    assert "2 of 2 dead letters" in run()
    assert "1 of 2 dead letters" in run("list", "--limit", "1")
    first, second = map(json.loads, run("list", "--json", "--origin", "POST").splitlines())
    assert (json.loads(first["raw"]), second["raw_base64"]) == (MENTION, "/w==")
    assert main(["dead-letters", "show", "1"]) == 0
    assert capfdbinary.readouterr().out == b"\xff"
    assert "1 accepted, 0 known already" in run("replay", "--id", "2")
    mended = tmp_path / "mended.json"
    mended.write_bytes(posted("mentions", MENTION | {"mention_id": "2"}))
    assert main(["dead-letters", "replay", "--edit", str(mended)]) == 1
    assert main(["dead-letters", "replay", "--id", "7", "--edit", str(mended)]) == 1
    assert b"one with the id 7" in capfdbinary.readouterr().err
    assert "0 dead letters dropped" in run("purge", "--older-than", "400000d", "--reason", "x")
    assert "1 accepted" in run("replay", "--id", "1", "--edit", str(mended))
    assert "0 of 0 dead letters" in run()
