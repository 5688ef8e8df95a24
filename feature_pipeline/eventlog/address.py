"""Where an event log may be."""

from __future__ import annotations

from feature_pipeline.eventlog.kafka.address import KAFKA, check_kafka_address
from shared.redis_address import check_redis_address


def check_log_address(address: str) -> None:
    """Return if this is an address of an event log on a server.

    Raises:
        ValueError: it is not; says what was expected, and nothing of what it holds.
    """
    if address.startswith(KAFKA):
        check_kafka_address(address)
    else:
        check_redis_address(address)
