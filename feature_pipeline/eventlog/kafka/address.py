"""Where a log on Kafka is, and what its clients are told beyond that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import SettingsError

KAFKA = "kafka://"
_EXPECTED = f"an address such as {KAFKA}broker:9092/topic, several brokers separated by commas"
_ADDRESS = re.compile(
    KAFKA + r"(?P<brokers>[A-Za-z0-9._-]+:\d{1,5}(?:,[A-Za-z0-9._-]+:\d{1,5})*)"
    r"/(?P<topic>[A-Za-z0-9._-]{1,200})"
)
OWN_PROPERTIES = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.protocol",
        "isolation.level",
        "metadata.broker.list",
        "request.required.acks",
        "transactional.id",
    }
)
"""Client properties that the log's promises rest on; nobody else may set them."""


@dataclass(frozen=True)
class KafkaAddress:
    """Brokers and topic of a log.

    Attributes:
        brokers: ``host:port``, separated by commas.
        topic: holds the entries; names derived from it hold what the log remembers.
        properties: of librdkafka, such as those of TLS and SASL; never shown.
        answer_seconds: how long a broker is waited for.
    """

    brokers: str
    topic: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    answer_seconds: float = 10.0

    @property
    def ledger(self) -> str:
        """The compacted topic that tells which mentions and labels the log holds."""
        return f"{self.topic}.ledger"

    @property
    def group(self) -> str:
        """The consumer group whose offsets tell what is acknowledged."""
        return f"{self.topic}.stream"

    @property
    def writer(self) -> str:
        """The transactional id of the gateway; who takes it over fences the one before."""
        return f"{self.topic}.gateway"

    def __str__(self) -> str:
        return f"event log {KAFKA}{self.brokers}/{self.topic}"


def check_kafka_address(address: str) -> None:
    """Return if this is an address of a log on Kafka.

    Raises:
        ValueError: it is not; says what was expected, and nothing of what it holds.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError(_EXPECTED)


def kafka_address(address: str, properties: Path | None = None) -> KafkaAddress:
    r"""Return the address of a log, with what a file of properties adds.

    >>> kafka_address("kafka://one:9092,two:9092/mentions").ledger
    'mentions.ledger'

    Args:
        address: ``kafka://broker:9092[,broker:9092]/topic``.
        properties: a file of ``name=value`` lines as librdkafka names them.

    Raises:
        ValueError: it is no address of a log on Kafka.
        SettingsError: the file cannot be read, or holds what it may not.
    """
    check_kafka_address(address)
    parts = address.removeprefix(KAFKA).split("/")
    return KafkaAddress(parts[0], parts[1], _read_properties(properties) if properties else {})


def _read_properties(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"Kafka properties {path}",
            expected="a text file that can be read",
            found=type(error).__name__,
        ) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise SettingsError(
                f"Kafka properties {path}, line {number}",
                expected="name=value",
                found="another line, which is not shown",
            )
        if name in OWN_PROPERTIES:
            raise SettingsError(
                f"Kafka properties {path}, line {number}",
                expected="properties of connections and of speed",
                found=name,
                remedy="Leave it out: the log sets it, and rests on it.",
            )
        found[name] = value
    return found
