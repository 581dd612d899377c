"""The sink's line a minute: what it says, and when it says nothing."""

from __future__ import annotations

import logging

import pytest

from connect.native_sink.logs import Summary
from etar.dead_letters import Reason
from etar.records.intake import Decoded
from etar.records.record import Record, Row


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


RECORD = Record("t", 0, 0, 0, None, b"")


def stored(*, rows: int = 0, letters: int = 0, reason: Reason = Reason.NOT_AVRO) -> Decoded:
    return Decoded([Row(RECORD, ())] * rows, [RECORD.dead(reason, "")] * letters)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_a_minutes_batches_are_one_line_and_the_next_begins_at_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    summary = Summary(lambda: 1_234, now=clock)
    for _ in range(3):
        summary.add(stored(rows=700))
        summary.look()
        clock.seconds += 19.9
    summary.look()
    assert lines(caplog) == [], "before its time"
    clock.seconds += 0.3
    summary.look()
    summary.look()
    assert lines(caplog) == [(logging.INFO, "60 s: 2,100 records, 2,100 rows, 0 dead letters; 1,234 behind")]

    caplog.clear()
    clock.seconds += 60
    summary.look()
    assert lines(caplog) == [], "nothing has come"

    clock.seconds += 30
    summary.add(stored(rows=1))
    summary.say()
    assert lines(caplog) == [(logging.INFO, "30 s: 1 records, 1 rows, 0 dead letters; 1,234 behind")]


def test_dead_letters_are_named_by_their_reasons_the_most_first(caplog: pytest.LogCaptureFixture) -> None:
    summary = Summary(lambda: 0, now=Clock())
    summary.add(stored(letters=2, reason=Reason.TOO_LATE))
    summary.add(stored(rows=4, letters=1_000))
    summary.say()
    assert lines(caplog) == [
        (logging.WARNING, "0 s: 1,006 records, 4 rows, 1,002 dead letters (1,000 not_avro, 2 too_late); 0 behind")
    ]
