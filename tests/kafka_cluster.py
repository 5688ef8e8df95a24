"""A Kafka cluster as librdkafka brings one for tests: brokers on loopback, in this process.

It takes transactions and leaves their markers, keeps committed offsets, and deletes records. It
does not hide transactions that are open or aborted, knows of one epoch for each transactional id,
and leaves making topics and deleting records to ``rdkafka_mock.h``, which is called here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import confluent_kafka

from feature_pipeline.eventlog.clock import Clock, utc_now
from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.log import KafkaEventLog
from feature_pipeline.eventlog.kafka.topics import KafkaTopics

END_TRANSACTION = 26
"""The number of a request in Kafka's protocol."""
NO_ERROR, INVALID_TRANSACTION_STATE, PRODUCER_FENCED = 0, 48, 90
_PRODUCER_TYPE = 0
_FETCH_WAIT_MS = 10
"""It answers a reader that waits at the end no sooner, though there be new records."""
_ERROR_BYTES = 512


class KafkaCluster:
    """A cluster of one broker.

    Attributes:
        brokers: where it listens.
    """

    def __init__(self) -> None:
        folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
        (library,) = folder.glob("librdkafka*")
        self._library = ctypes.CDLL(str(library))
        for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._library, function).restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        config = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._client = ctypes.c_void_p(
            self._library.rd_kafka_new(_PRODUCER_TYPE, config, error, ctypes.c_size_t(_ERROR_BYTES))
        )
        assert self._client, error.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self.brokers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def address(self, topic: str, answer_seconds: float = 10.0) -> KafkaAddress:
        """Return the address of a log there."""
        return KafkaAddress(
            self.brokers, topic, {"fetch.wait.max.ms": str(_FETCH_WAIT_MS)}, answer_seconds
        )

    def make_topic(self, name: str, partitions: int) -> None:
        self._call("rd_kafka_mock_topic_create", name.encode(), partitions, 1)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        self._call(
            "rd_kafka_mock_partition_delete_records",
            topic.encode(),
            partition,
            ctypes.c_int64(before),
        )

    def stop(self) -> None:
        """Let the broker close its connections and accept no others."""
        self._call("rd_kafka_mock_broker_set_down", 1)

    def start(self) -> None:
        self._call("rd_kafka_mock_broker_set_up", 1)

    def fail(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with errors."""
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster,
            ctypes.c_int16(request),
            ctypes.c_size_t(len(errors)),
            (ctypes.c_int * len(errors))(*errors),
        )

    def _call(self, function: str, *arguments: object) -> None:
        assert getattr(self._library, function)(self._cluster, *arguments) == 0, function


class ClusterTopics(KafkaTopics):
    """Topics of a log in such a cluster, which serves no request to make or to trim them."""

    def __init__(self, cluster: KafkaCluster, address: KafkaAddress) -> None:
        super().__init__(address)
        self._cluster = cluster
        self._topic = address.topic

    def make(self, topics: Mapping[str, int]) -> None:
        for name, partitions in topics.items():
            self._cluster.make_topic(name, partitions)

    def delete_before(self, partition: int, offset: int) -> None:
        self._cluster.delete_records(self._topic, partition, offset)


def kafka_log(
    cluster: KafkaCluster,
    cache: Path,
    partitions: int = 2,
    clock: Clock = utc_now,
    *,
    topic: str = "reviews",
    answer_seconds: float = 10.0,
) -> KafkaEventLog:
    """Open a log in a cluster."""
    address = cluster.address(topic, answer_seconds)
    return KafkaEventLog(address, partitions, cache, clock, ClusterTopics(cluster, address))
