"""A server process whose champion changes hundreds of times while it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.inference.conftest import metric, ready
from tests.inference.http_load import asking
from tests.inference.registry_files import Publisher
from tests.inference.server_process import serving
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

SWAPS = 300
WARM_UP = 60
"""Swaps of these after which caches and pools are filled."""
MOST_FILES_MORE = 10
SPARE_WORDS = 200_000
MOST_BYTES_MORE = 100 * 2**20
"""Had the versions of the later swaps stayed open, it would be five times as much."""


def test_hundreds_of_swaps_under_load_fail_no_request(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - registers the task's features under the home
) -> None:
    """Each answer is of one version, which was champion; those that were are closed again."""
    versions = [
        publisher.publish(TinyModel(bias=bias, spare_words=SPARE_WORDS)) for bias in (0.0, 1.0, 2.0)
    ]
    client = publisher.client
    swapped = 'fti_inference_model_swaps_total{model="tiny"}'
    with serving(home, FTI_INFERENCE_POLL_SECONDS="0.005") as server:
        ready(server.client, versions[-1])
        before = metric(server.client, swapped)
        with asking(server.port, {"text": "late flight"}, connections=2) as load:
            for number in range(SWAPS):
                if number == WARM_UP:
                    files, memory = server.open_files(), server.memory_bytes()
                chosen = versions[number % len(versions)]
                client.set_registered_model_alias("tiny", "champion", chosen)
                ready(server.client, chosen)
            assert server.open_files() <= files + MOST_FILES_MORE
            assert server.memory_bytes() <= memory + MOST_BYTES_MORE
        assert metric(server.client, swapped) - before == SWAPS
    load.assert_all_answered()
    scores: dict[str, set[str]] = {}
    for reply in load.replies:
        (prediction,) = reply.document["predictions"]
        scores.setdefault(reply.version, set()).add(str(prediction["probabilities"]))
    assert sorted(scores) == versions
    assert all(len(found) == 1 for found in scores.values())
