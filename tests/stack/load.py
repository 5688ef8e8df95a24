"""What users do while containers are killed: events are streamed, predictions asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import httpx

from demo.stack.client import Stack

_SUBJECTS = 7
_EVENTS = 20
_PAUSE_SECONDS = 0.2
_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Failure:
    """A prediction request that failed, by the monotonic clock."""

    begin: float
    end: float
    what: str


class Load:
    """Streams and predicts while the context lasts; a post without a receipt is sent again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=work.__name__)
            for work in (self._stream, self._predict)
        ]
        self.sent: Counter[str] = Counter()
        """Mentions with a receipt, by subject."""
        self.repeated = 0
        """Posts that were sent again."""
        self.predictions = 0
        self.failures: list[Failure] = []
        self.errors: list[str] = []
        """Answers that no retry mends: the test fails."""

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, when the last post has its receipt."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _stream(self) -> None:
        address = self._stack.addresses["features"]
        with httpx.Client(base_url=address, headers=self._headers, timeout=15) as client:
            number = 0
            while not self._stop.is_set():
                batch = [_mention(number + i) for i in range(_EVENTS)]
                number += _EVENTS
                if not self._post(client, batch):
                    return
                self.sent.update(str(mention["subject_id"]) for mention in batch)
                self._stop.wait(_PAUSE_SECONDS)

    def _post(self, client: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        while True:
            try:
                answer = client.post("/v1/mentions", json={"mentions": batch})
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == httpx.codes.ACCEPTED:
                outcome = answer.json()
                if outcome["accepted"] + outcome["duplicates"] == len(batch):
                    return True
                self.errors.append(answer.text[:300])
                return False
            if answer is not None and answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                self.errors.append(f"{answer.status_code} {answer.text[:300]}")
                return False
            self.repeated += 1
            time.sleep(_RETRY_SECONDS)

    def _predict(self) -> None:
        address = self._stack.addresses["inference"]
        # A connection each: one that is kept would fail once more after its server came back.
        while not self._stop.is_set():
            begin = time.monotonic()
            what = ""
            try:
                answer = httpx.post(
                    f"{address}/v1/predict",
                    json={"text": "my bag is lost again", "subject_id": "subject-1"},
                    headers=self._headers,
                    timeout=15,
                )
                if not answer.is_success:
                    what = f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                what = repr(error)
            self.predictions += 1
            if what:
                self.failures.append(Failure(begin, time.monotonic(), what))
            self._stop.wait(_PAUSE_SECONDS)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._stack.token}"}


def _mention(number: int) -> dict[str, Any]:
    return {
        "mention_id": f"fault-{number}",
        "subject_id": f"subject-{number % _SUBJECTS}",
        "text": f"the flight number {number} was late",
        "published_at": datetime.now(UTC).isoformat(),
    }
