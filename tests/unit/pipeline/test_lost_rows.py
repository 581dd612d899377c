"""Which closed minutes the audit is opened again at, for rows that the table lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import pytest

from etar.audit import marks, reopening
from etar.audit.pieces import Piece
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.pipeline.lost_rows import have_put_back
from etar.streams import Stream, default_stream

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
CLOSED = [Piece(0, WINDOW, Span(10, 20)), Piece(0, WINDOW.next, Span(20, 30)), Piece(1, WINDOW, Span(0, 5))]


class ClosedMinutes:
    """The auditor's marks: the minutes of CLOSED, and nothing later."""

    def __init__(self, connection: object, stream: Stream) -> None:
        assert stream is default_stream()

    def closed_around(self, partition: int, offsets: Iterable[int], *, since: datetime) -> list[Piece]:
        wanted = list(offsets)
        return [p for p in CLOSED if p.partition == partition and any(at in range(*p.offsets) for at in wanted)]


@pytest.mark.parametrize(
    ("lost", "low", "opened"),
    [
        ({0: [12, 25]}, {0: 0}, {0: 10}),
        ({0: [25]}, {0: 0}, {0: 20}),
        ({0: [12], 1: [4]}, {0: 0, 1: 0}, {0: 10, 1: 0}),
        ({0: [12]}, {0: 10}, {0: 10}),
        ({0: [12]}, {0: 11}, {}),  # Kafka holds the record, but not all of its minute
        ({0: [12]}, {0: 13}, {}),
        ({0: [12, 25]}, {0: 20}, {0: 20}),
        ({0: [12, 25]}, {0: 13}, {0: 20}),
        ({0: [12, 25]}, {0: 11}, {0: 20}),  # what can be put back is, whatever came before it
        ({0: [12], 1: [4]}, {0: 13, 1: 0}, {1: 0}),
        ({0: [30]}, {0: 0}, {}),  # not closed: the next audit looks at it anyway
        ({}, {}, {}),
    ],
)
def test_the_audit_is_opened_at_a_closed_minute_that_kafka_holds_whole(
    lost: Mapping[int, list[int]], low: Mapping[int, int], opened: Mapping[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[int, int]] = []

    def reopen(_connection: object, stream: Stream, suspect_from: Mapping[int, int], *, wait_seconds: float) -> None:
        assert (stream, wait_seconds) == (default_stream(), 7)
        asked.append(suspect_from)

    monkeypatch.setattr(marks, "Marks", ClosedMinutes)
    monkeypatch.setattr(reopening, "reopen", reopen)
    have_put_back(lost, stream=default_stream(), connection=cast(Any, None), low=low, wait_seconds=7)
    assert asked == ([opened] if opened else [])
