"""What a message of Connect's dead-letter topic is taken for."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from confluent_kafka import Message

from etar.dead_letter_office.unfiled import GivenUp, _Offsets, read_given_up
from etar.records.record import Record

HEADERS = {
    "topic": b"events",
    "partition": b"3",
    "offset": b"1042",
    "stage": b"VALUE_CONVERTER",
    "exception.class.name": b"org.apache.kafka.connect.errors.DataException",
    "exception.message": b"Unknown magic byte!",
}
OWN: list[tuple[str, bytes | None]] = [("trace", b"\xff"), ("topic", b"a producer's own")]


class _Message:
    """As the client gives it; the real class cannot be made."""

    def __init__(self, headers: list[tuple[str, bytes | None]] | None) -> None:
        self._headers = headers

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_795_276_800_250

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"junk"


def read(**changes: Any) -> GivenUp | None:
    """With these headers changed; one that is ``...`` is left out."""
    said = {name: value for name, value in {**HEADERS, **changes}.items() if value is not ...}
    return read_given_up(cast(Message, _Message(OWN + [(f"__connect.errors.{k}", v) for k, v in said.items()])))


def test_the_headers_say_which_record_it_is_and_why_it_was_given_up() -> None:
    assert read() == GivenUp(
        Record("events", 3, 1042, 1_795_276_800_250, b"k", b"junk", tuple(OWN)),
        datetime(2026, 11, 21, 16, 0, 0, 250_000, tzinfo=UTC),
        "Kafka Connect gave it up (value_converter, DataException): Unknown magic byte!",
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exception.message": None}, "(value_converter, DataException): no message"),
        ({"exception.message": "über".encode("latin-1")}, "(value_converter, DataException): \ufffdber"),
        ({"stage": ..., "exception.class.name": ...}, "(no stage named, no exception named): Unknown magic byte!"),
    ],
)
def test_what_connect_leaves_out_is_no_reason_to_leave_the_record_out(changes: dict[str, Any], why: str) -> None:
    found = read(**changes)
    assert found is not None
    assert found.why == f"Kafka Connect gave it up {why}"


@pytest.mark.parametrize(
    "changes",
    [{"topic": ...}, {"partition": ...}, {"offset": ...}, {"partition": b"three"}, {"offset": None}, {"offset": b""}],
    ids=str,
)
def test_a_message_that_does_not_say_where_the_record_stands_is_none(changes: dict[str, Any]) -> None:
    assert read(**changes) is None


def test_a_message_without_headers_is_none() -> None:
    assert read_given_up(cast(Message, _Message(None))) is None


def test_each_offset_is_new_once() -> None:
    chance = random.Random(3)
    places = [
        (chance.randrange(3), chance.choice([0, 65_535, 65_536, 10**12]) + chance.randrange(20)) for _ in range(500)
    ]
    offsets, seen = _Offsets(), set()
    for place in places:
        assert offsets.add(*place) == (place not in seen)
        seen.add(place)
