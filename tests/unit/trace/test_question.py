"""What a person gives, and what is looked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from etar.streams import Stream
from etar.trace.letters import is_same
from etar.trace.question import Question, UnfitQuestionError
from etar.trace.warehouse import needles

NOW = datetime(2026, 11, 21, 10, 31, 7, tzinfo=UTC)
ONE = Stream("clicks")
TWO = Stream("sales", identity=("shop", "receipt"))
NONE = Stream("readings", identity=())


def asked(stream: Stream, *values: str, **options: Any) -> Question:
    return Question.of(stream, values, now=NOW, ahead=timedelta(minutes=5), **options)


def test_three_hours_back_and_what_may_be_ahead_are_searched_on_whole_minutes() -> None:
    question = asked(ONE, "an id")

    assert (question.identity, question.record) == (("an id",), None)
    assert question.since == datetime(2026, 11, 21, 7, 31, tzinfo=UTC)
    assert question.until == datetime(2026, 11, 21, 10, 37, tzinfo=UTC)


def test_what_no_event_time_can_be_is_not_searched() -> None:
    question = asked(ONE, "an id", since="0001-01-01", until="9999-12-31T23:59:59Z")

    assert question.since == datetime(1970, 1, 1, tzinfo=UTC)
    assert question.until == datetime(2026, 11, 21, 10, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", datetime(2026, 11, 21, 9, 1, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 19, 10, 31, tzinfo=UTC)),
        ("2026-11-21T10:30:59", datetime(2026, 11, 21, 10, 30, tzinfo=UTC)),
        ("2026-11-21T12:30:00+02:00", datetime(2026, 11, 21, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_bound_is_an_instant_or_how_long_ago(text: str, since: datetime) -> None:
    assert asked(ONE, "an id", since=text).since == since


def test_a_place_in_kafka_is_a_record_unless_it_is_said_to_be_an_id() -> None:
    assert asked(ONE, "3:1042").record == (3, 1042)
    assert asked(ONE, "3:1042", as_id=True).identity == ("3:1042",)
    assert asked(TWO, "3:1042", log=1).log == 1
    assert asked(TWO, "berlin", "3:1042").identity == ("berlin", "3:1042")


@pytest.mark.parametrize(
    ("stream", "values", "options", "message"),
    [
        (TWO, ["berlin"], {}, "named by 2 values, shop, receipt; got 1"),
        (NONE, ["x"], {}, "events of readings have no id"),
        (ONE, [], {}, "named by 1 value, event_id; got 0"),
        (ONE, ["x"], {"since": "yesterday"}, "since 'yesterday' is no time"),
        (ONE, ["x"], {"since": "1h", "until": "2h"}, "is not before until"),
        (ONE, ["x"], {"since": "2026-11-21T11:00Z", "until": "9999-12-31T23:59:59Z"}, "is not before until"),
        (ONE, ["x"], {"log": 1}, "PARTITION:OFFSET"),
        (ONE, ["\ud800"], {}, "is no text"),
        (ONE, ["x" * 1001], {}, "1,001 characters"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_with_what_to_give(
    stream: Stream, values: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnfitQuestionError, match=message):
        asked(stream, *values, **options)


ID = "5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11"


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (ID, b"\x00" + ID.encode() + b"\x01"),
        (ID, ID.upper().encode()),
        (ID.upper(), ID.encode()),
        (ID, b"x" + UUID(ID).bytes),
        ("größe 7", b'{"id": "gr\xc3\xb6\xc3\x9fe 7"}'),
        ("1042", b'{"id": 1042}'),
        ("1042", b"\x00\xa4\x10\x00"),
        ("-3", b"\x05"),
    ],
)
def test_bytes_that_hold_a_value_as_a_format_writes_it_are_found(value: str, held: bytes) -> None:
    assert any(needle in held for needle in needles(value))


def test_no_needle_is_in_everything() -> None:
    assert all(needles(value) == [value.encode()] for value in ("x", str(2**70)))


@pytest.mark.parametrize(
    ("given", "said", "same"),
    [
        (ID.upper(), ID, True),
        (ID, UUID(ID).bytes, True),
        ("7", 7, True),
        ("7.50", Decimal("7.5"), True),
        ("Berlin", "berlin", False),
        (ID, ID.replace("5e", "5f"), False),
        ("x", None, False),
    ],
)
def test_a_value_of_a_record_is_the_one_asked_for_as_the_table_would_store_both(
    given: str, said: Any, same: bool
) -> None:
    assert is_same(given, said) is same
