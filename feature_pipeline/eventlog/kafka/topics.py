"""The topics of a log: made when they are missing, checked when they are there, and trimmed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import NewTopic

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.clients import admin, answered
from feature_pipeline.eventlog.port import other_partitions

_KEEP_ALL = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""What is old goes when the log is trimmed: only then is it sure that the stream has it."""
_KEEP_LATEST = {"cleanup.policy": "compact"}
_METADATA_SECONDS = 0.05
"""Between two looks for a new topic, of which not all brokers know at once."""


class KafkaTopics:
    """Makes and trims the topics of one log."""

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._admin = admin(address)

    def ensure(self, partitions: int) -> str:
        """See that the topics are there; return the cluster's identity.

        Raises:
            StateError: the topic has another number of partitions.
            LogUnavailableError: no broker answers.
        """
        address = self._address
        with answered(address):
            wanted = {address.topic: partitions, address.ledger: 1}
            cluster, found = self._found()
            if missing := [name for name in wanted if name not in found]:
                self.make({name: wanted[name] for name in missing})
                deadline = time.monotonic() + self._address.answer_seconds
                while not wanted.keys() <= found.keys() and time.monotonic() < deadline:
                    time.sleep(_METADATA_SECONDS)
                    cluster, found = self._found()
        for name, number in wanted.items():
            if found.get(name, 0) != number:
                raise other_partitions(f"{address}, topic {name}", number, found.get(name, 0))
        return cluster

    def make(self, topics: Mapping[str, int]) -> None:
        """Make topics, by name and number of partitions; one that is there by now is left."""
        for name, number in topics.items():
            config = _KEEP_LATEST if name == self._address.ledger else _KEEP_ALL
            made = self._admin.create_topics(
                [NewTopic(name, number, config=config)],
                request_timeout=self._address.answer_seconds,
            )
            try:
                made[name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the records of a partition that stand before an offset.

        Raises:
            LogUnavailableError: the brokers do not do it.
        """
        with answered(self._address):
            place = TopicPartition(self._address.topic, partition, offset)
            deleted = self._admin.delete_records(
                [place], request_timeout=self._address.answer_seconds
            )
            deleted[place].result()

    def _found(self) -> tuple[str, dict[str, int]]:
        # All topics are asked for: to ask for one by name may make it.
        metadata = self._admin.list_topics(timeout=self._address.answer_seconds)
        return str(metadata.cluster_id), {
            name: len(topic.partitions) for name, topic in metadata.topics.items()
        }
