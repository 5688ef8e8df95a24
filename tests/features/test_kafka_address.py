"""Where a log on Kafka is, and the properties of its clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_pipeline.eventlog.kafka.address import kafka_address
from feature_pipeline.eventlog.kafka.clients import consumer
from shared.errors import SettingsError


@pytest.mark.parametrize(
    "text",
    [
        "kafka://",
        "kafka://broker/topic",
        "kafka://broker:9092",
        "kafka://broker:9092/a/b",
        "kafka://user:hush@broker:9092/topic",
        "redis://broker:9092/0",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    """What is no address of a log on Kafka is not tried, nor shown: it may hold a password."""
    with pytest.raises(ValueError, match="kafka://broker:9092/topic") as caught:
        kafka_address(text)
    assert "hush" not in str(caught.value)


def test_properties_come_from_a_file(tmp_path: Path) -> None:
    """Comments and empty lines are skipped; a value may hold whatever a line can."""
    file = tmp_path / "kafka.properties"
    file.write_text("# secrets\n\nsecurity.protocol = SASL_SSL\nsasl.password=a=b#c\n")
    address = kafka_address("kafka://one:9092,two:9092/mentions", file)
    assert address.brokers == "one:9092,two:9092"
    assert address.properties == {"security.protocol": "SASL_SSL", "sasl.password": "a=b#c"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("isolation.level=read_uncommitted", "line 1: .*found isolation.level"),
        ("hush", "line 1: expected name=value"),
        ("sasl.pasword=hush", "sasl.pasword"),
        ("security.protocol=hush", "security.protocol"),
    ],
)
def test_properties_of_no_use_are_refused(tmp_path: Path, line: str, told: str) -> None:
    """What the log rests on, and what librdkafka does not know, is told without the value."""
    file = tmp_path / "kafka.properties"
    file.write_text(line)
    with pytest.raises(SettingsError, match=told) as caught:
        consumer(kafka_address("kafka://one:9092/mentions", file))
    assert "hush" not in str(caught.value)


def test_missing_properties_are_told(tmp_path: Path) -> None:
    """A file that is not there stops the start."""
    with pytest.raises(SettingsError, match=r"kafka\.properties.*FileNotFoundError"):
        kafka_address("kafka://one:9092/mentions", tmp_path / "kafka.properties")
