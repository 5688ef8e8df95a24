"""A server process whose online store, a Redis server, is killed and started again under load."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from shared.places import Places
from tests.inference import feast_store
from tests.inference.conftest import eventually, ready
from tests.inference.http_load import Load, asking, between
from tests.inference.registry_files import Publisher
from tests.inference.server_process import serving
from tests.inference.tiny_model import TinyModel
from tests.redis_server import RedisServer

OUTAGES = 2


def well(load: Load) -> bool:
    """Tell whether the last answers, a good many, all had features."""
    last = load.replies[-50:]
    return len(last) == 50 and not any(reply.degraded for reply in last)


def test_outages_of_the_online_store_cost_features_not_answers(
    home: Path, publisher: Publisher, redis_server: RedisServer
) -> None:
    """While it is away each answer says degraded; when it is back they have features again."""
    places = replace(Places.embedded(home), online_store=redis_server.address)
    store = feast_store.open_store(home, places)
    values = {"mentions_24h": 3, "share_positive_24h": None}
    feast_store.write(store, "subject", "united", datetime.now(UTC), values)
    publisher.publish(TinyModel())
    outages = []
    with serving(home, FTI_ONLINE_STORE=redis_server.address) as server:
        ready(server.client, "1")
        with asking(server.port, {"text": "@united late flight"}) as load:
            for _ in range(OUTAGES):
                eventually(lambda: well(load), bool)
                redis_server.kill()
                killed = time.monotonic()
                answered = len(load.replies)
                eventually(lambda: len(load.replies), lambda n: n > answered + 50)  # noqa: B023
                outages.append((killed, time.monotonic()))
                redis_server.start()
            eventually(lambda: well(load), bool)
    load.assert_all_answered()
    for outage in outages:
        during = between(load.replies, *outage)
        assert during
        assert all(reply.degraded for reply in during)
    (prediction,) = load.replies[-1].document["predictions"]
    assert prediction["features"]["subject_activity"]["status"] == "present"
