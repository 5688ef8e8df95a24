"""The stream worker on a log on Kafka, killed and started again, ends as one batch has it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from feature_pipeline.eventlog.port import EventLog
from tests.features.pipeline_processes import PipelineProcesses, kill
from tests.features.stream_process import until
from tests.kafka_cluster import KafkaCluster, kafka_log


class KafkaProcesses(PipelineProcesses):
    """Processes that find their log by its address, and their tuning in a file."""

    def __init__(self, home: Path, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        properties = home.with_name("kafka.properties")
        properties.write_text("fetch.wait.max.ms=10\n")
        settings = {
            "FTI_FEATURES_LOG": f"kafka://{cluster.brokers}/reviews",
            "FTI_FEATURES_KAFKA_CONFIG": str(properties),
        }
        super().__init__(home, settings)
        self.open_log().close()  # makes the topics, which the cluster does for this process only

    def open_log(self) -> EventLog:
        return kafka_log(self._cluster, self.home / "ledger.db", self.partitions)


@pytest.mark.timeout(240)
def test_killed_worker_goes_on_where_its_state_is(
    tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    """Entries, heartbeats and positions are the same for a worker that comes back after kill -9."""
    pipeline = KafkaProcesses(tmp_path / "home", kafka_cluster)
    for start in (0, 40, 80):
        pipeline.append(start, start + 40)
        worker = pipeline.start("stream")
        until(partial(_has_more_than, pipeline, start), "a write")
        kill(worker)
    with pipeline.running("stream") as worker:
        until(pipeline.settles, "the features to settle")
    assert worker.exitcode == 0, pipeline.printed()
    pipeline.assert_complete()


def _has_more_than(pipeline: PipelineProcesses, mentions: int) -> bool:
    return pipeline.written("mention_text").height > mentions
