"""Settings of a topic that cost records, at the bounds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from etar.kafka.topic_settings import topic_faults

HOUR_MS = 3_600_000
RIGHT = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "delete",
    "retention.ms": str(26 * HOUR_MS),
    "retention.bytes": "-1",
}


@pytest.mark.parametrize("kept", [26 * HOUR_MS, 48 * HOUR_MS, -1])
def test_a_topic_that_keeps_what_an_outage_needs(kept: int) -> None:
    assert topic_faults(RIGHT | {"retention.ms": str(kept)}, needed=timedelta(hours=26)) == []


@pytest.mark.parametrize(
    ("setting", "value", "wanted", "refused", "says"),
    [
        ("message.timestamp.type", "CreateTime", "LogAppendTime", True, "broker's clock"),
        ("cleanup.policy", "compact", "delete", True, "same key"),
        ("cleanup.policy", "compact,delete", "delete", True, "same key"),
        ("retention.ms", str(26 * HOUR_MS - 1), str(26 * HOUR_MS), False, "an outage may take 26 h"),
        ("retention.ms", "0", str(26 * HOUR_MS), False, "after 0 h"),
        ("retention.bytes", "0", "-1", False, "younger than 26 h"),
        ("retention.bytes", str(2**40), "-1", False, "younger than 26 h"),
    ],
)
def test_each_setting_that_can_cost_records(setting: str, value: str, wanted: str, refused: bool, says: str) -> None:
    (fault,) = topic_faults(RIGHT | {setting: value}, needed=timedelta(hours=26))
    assert (fault.setting, fault.value, fault.wanted, fault.refused) == (setting, value, wanted, refused)
    told = fault.told_of("clicks")
    assert says in told
    assert told.endswith(f"kafka-configs --alter --topic clicks --add-config {setting}={wanted}")
