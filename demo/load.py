"""A steady load of prediction requests, to see that none fails while a version is replaced."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

import httpx

_PAUSE_SECONDS = 0.05


class SteadyLoad:
    """Asks for one prediction after the other while the context lasts."""

    def __init__(self, url: str, texts: list[str], *, token: str | None = None) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._texts = texts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.versions: Counter[str] = Counter()
        self.failures: list[str] = []

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return self.versions.total() + len(self.failures)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the last answer."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=30) as client:
            number = 0
            while not self._stop.is_set():
                self._ask(client, self._texts[number % len(self._texts)])
                number += 1
                self._stop.wait(_PAUSE_SECONDS)

    def _ask(self, client: httpx.Client, text: str) -> None:
        try:
            answer = client.post("/v1/predict", json={"text": text})
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        if answer.is_success:
            self.versions[answer.json()["model"]["version"]] += 1
        else:
            self.failures.append(f"{answer.status_code}: {answer.text[:200]}")
