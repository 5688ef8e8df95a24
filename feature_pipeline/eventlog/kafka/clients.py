"""How the clients of a log on Kafka are made, and what becomes of their errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.port import LogUnavailableError
from shared.errors import SettingsError
from shared.logs import get_logger

Client = TypeVar("Client", Consumer, Producer, AdminClient)
_CRITICAL = 2
"""Of syslog: what librdkafka writes to stderr by itself. Its errors are logged below."""
_SAME_ERROR_SECONDS = 30.0
_log = get_logger(__name__)


class _ErrorLog:
    """Logs what troubles a client, such as a refused password; one line a kind and half minute."""

    def __init__(self) -> None:
        self._logged: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._logged.get(error.code(), -_SAME_ERROR_SECONDS) >= _SAME_ERROR_SECONDS:
            self._logged[error.code()] = now
            _log.warning("kafka client in trouble", error=error.str())


def consumer(address: KafkaAddress) -> Consumer:
    """Return a consumer that sees committed transactions only and moves when it is told to.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    return _made(
        address,
        Consumer,
        {
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
            **address.properties,
            "bootstrap.servers": address.brokers,
            "group.id": address.group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        },
    )


def producer(address: KafkaAddress) -> Producer:
    """Return the transactional producer of the log's one gateway.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    return _made(
        address,
        Producer,
        {
            **address.properties,
            "bootstrap.servers": address.brokers,
            "transactional.id": address.writer,
            "acks": "all",
        },
    )


def admin(address: KafkaAddress) -> AdminClient:
    """Return a client that makes topics and deletes records.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    return _made(address, AdminClient, {**address.properties, "bootstrap.servers": address.brokers})


@contextmanager
def answered(address: KafkaAddress) -> Iterator[None]:
    """Tell of brokers that do not answer, or do not do as they are asked.

    Raises:
        LogUnavailableError: in place of the library's errors.
    """
    try:
        yield
    except (KafkaException, BufferError) as error:
        cause = error.args[0]
        raise LogUnavailableError(
            str(address),
            expected="brokers that do what they are asked",
            found=cause if isinstance(cause, str) else cause.str(),
            remedy="See that they run, can be reached, and allow it to this client.",
        ) from error


def _made(
    address: KafkaAddress, kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]
) -> Client:
    try:
        return kind({"log_level": _CRITICAL, "error_cb": _ErrorLog(), **config})
    except KafkaException as error:
        found = error.args[0].str()
        for value in address.properties.values():
            found = found.replace(f'"{value}"', "a value, which is not shown,")
        raise SettingsError(
            "Kafka properties", expected="those of librdkafka", found=found
        ) from None
