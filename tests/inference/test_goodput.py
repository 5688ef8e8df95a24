"""A server process that is asked five times more than it can answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.inference.conftest import metric, ready
from tests.inference.http_load import Load, arriving, asking
from tests.inference.registry_files import Publisher
from tests.inference.server_process import serving
from tests.inference.slow_server import SECONDS_PER_ROW
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

SECONDS = 4.0
"""Of each measurement."""
SETTLING_SECONDS = 1.0
"""In which queues fill: as long as a request may take."""
OVERLOAD = 5
CONNECTIONS = 64
"""More than requests can be in the server at a time, so that none waits for a connection."""
BODY: dict[str, object] = {"text": "late flight"}


def goodput(load: Load, start: float) -> float:
    """Return the good answers a second that came in a measurement."""
    good = [
        reply
        for reply in load.replies
        if reply.status == 200 and start <= reply.ended < start + SECONDS
    ]
    return len(good) / SECONDS


def test_five_times_too_much_costs_hardly_any_goodput(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - registers the task's features under the home
) -> None:
    """What cannot be done in time is refused, what was taken is in time, and no time is wasted."""
    publisher.publish(TinyModel())
    settings = {"FTI_INFERENCE_THREADS": "1", "FTI_INFERENCE_TIMEOUT_SECONDS": "1"}
    with serving(home, module="tests.inference.slow_server", **settings) as server:
        ready(server.client, "1")
        with asking(server.port, BODY, connections=4) as enough:
            begin = time.monotonic() + SETTLING_SECONDS
            time.sleep(SETTLING_SECONDS + SECONDS)
        peak = goodput(enough, begin)
        rate = OVERLOAD / SECONDS_PER_ROW
        with arriving(server.port, BODY, rate=rate, connections=CONNECTIONS) as too_much:
            begin = time.monotonic() + SETTLING_SECONDS
            time.sleep(SETTLING_SECONDS + SECONDS)
        expired = metric(server.client, "fti_inference_expired_requests_total")
    enough.assert_all_answered()
    assert too_much.failures == []
    assert len(too_much.replies) >= 0.9 * rate * (SETTLING_SECONDS + SECONDS)
    assert {reply.status for reply in too_much.replies} == {200, 429}
    assert expired == 0
    assert goodput(too_much, begin) >= 0.9 * peak
