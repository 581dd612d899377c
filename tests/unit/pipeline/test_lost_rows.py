"""Which rows of a reported minute the table lost, and which closed minutes the audit is opened again at for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from etar.audit import marks, reopening
from etar.audit.pieces import Piece
from etar.extracts import OffsetSpan
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.pipeline import lost_rows as module
from etar.pipeline.lost_rows import have_put_back, lost_rows
from etar.streams import Stream, default_stream

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
CLOSED = [Piece(0, WINDOW, Span(10, 20)), Piece(0, WINDOW.next, Span(20, 30)), Piece(1, WINDOW, Span(0, 5))]


class ClosedMinutes:
    """The auditor's marks: the minutes of CLOSED, and nothing later."""

    def __init__(self, connection: object, stream: Stream) -> None:
        assert stream is default_stream()

    def closed_around(self, partition: int, offsets: Iterable[int], *, since: datetime) -> list[Piece]:
        assert since == datetime(1970, 1, 1, tzinfo=UTC), "however long ago"
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


Record = tuple[int, int, int]
"""Partition, offset, and in which second of the minute the broker took it."""

EXTRACTED: list[Record] = [(1, 4, 0), (0, 12, 1), (0, 11, 2), (0, 15, 3), (1, 3, 4)]
OFFSETS = {0: OffsetSpan(first=11, last=15, rows=3), 1: OffsetSpan(first=3, last=4, rows=2)}


def parquet(records: Sequence[Record]) -> bytes:
    columns: dict[str, Any] = {
        "country": pa.array(["DE"] * len(records)),
        "_partition": pa.array([partition for partition, _, _ in records], pa.int32()),
        "_offset": pa.array([offset for _, offset, _ in records], pa.int64()),
        "_timestamp": pa.array([WINDOW.start + timedelta(seconds=at) for *_, at in records], pa.timestamp("ms", "UTC")),
    }
    written = BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


class Reported:
    """A minute that was reported from EXTRACTED, a table that counts ``rows`` and holds ``held`` (or dead letters of
    these places), and the store with the extract. What each is asked is noted."""

    def __init__(
        self, rows: Mapping[int, int], held: Sequence[Record] = (), *, logs: Sequence[str] = ("t",), error: str = ""
    ) -> None:
        self.rows = rows
        self.held = held
        self.logs = logs
        self.error = error
        self.revisions: list[Any] = [
            SimpleNamespace(offsets={0: OffsetSpan(first=0, last=99, rows=100)}),
            SimpleNamespace(offsets=OFFSETS),
            SimpleNamespace(offsets=None),
        ]
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.stores = 0

    def lost(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
        connection = cast(Any, object())

        def revisions(asked: object, stream: Stream, window: MinuteWindow) -> list[Any]:
            assert (asked, stream, window) == (connection, default_stream(), WINDOW)
            return self.revisions

        monkeypatch.setattr(module, "revisions", revisions)
        return lost_rows(
            WINDOW, stream=default_stream(), connection=connection, warehouse=self, store=self.store, bucket="etar"
        )

    def store(self) -> Reported:
        self.stores += 1
        return self

    def query(self, query: str, parameters: dict[str, Any]) -> Any:
        self.asked.append((query, parameters))
        return SimpleNamespace(result_rows=[(partition, rows, self.logs) for partition, rows in self.rows.items()])

    def raw_stream(self, query: str, parameters: dict[str, Any], *, fmt: str) -> BytesIO:
        assert fmt == "Parquet"
        self.asked.append((query, parameters))
        return BytesIO(parquet(self.held))

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ("etar", default_stream().extract_key(WINDOW))
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "GetObject")
        return {"Body": BytesIO(parquet(EXTRACTED))}


@pytest.mark.parametrize("rows", [{0: 3, 1: 2}, {0: 4, 1: 2}, {0: 3, 1: 9, 7: 1}])
def test_nothing_is_looked_for_in_the_extract_where_the_table_has_as_many_rows(
    rows: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = Reported(rows)
    assert reported.lost(monkeypatch) == {}
    assert reported.stores == 0
    ((query, parameters),) = reported.asked
    # Of the newest revision that has rows: late ones at higher offsets stand in for none.
    assert "((_partition = 0 AND _offset >= 11 AND _offset < 16) OR (_partition = 1 AND _offset >= 3 AND " in query
    assert parameters == WINDOW.parameters


@pytest.mark.parametrize(
    ("held", "lost"),
    [
        (EXTRACTED[1:], {1: [4]}),
        (EXTRACTED[3:], {0: [11, 12], 1: [4]}),
        ([], {0: [11, 12, 15], 1: [3, 4]}),
        (EXTRACTED, {}),  # what is no row any more is a dead letter
        ([*EXTRACTED[1:], (1, 4, 59)], {1: [4]}),  # that offset, of another log of the topic
        ([*EXTRACTED[1:], (0, 4, 0), (1, 5, 0)], {1: [4]}),
    ],
)
@pytest.mark.parametrize("rows", [{0: 3, 1: 1}, {0: 2, 1: 2}, {0: 3}, {}])
def test_the_records_of_the_extract_that_are_in_no_place_are_lost(
    held: list[Record], lost: dict[int, list[int]], rows: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = Reported(rows, held)
    assert reported.lost(monkeypatch) == lost
    query, parameters = reported.asked[-1]
    assert "(_partition = 0 AND _offset >= 11 AND _offset < 16)" in query
    assert "(_partition = 1 AND _offset >= 3 AND _offset < 5)" in query
    assert parameters == {**WINDOW.parameters, "topic": default_stream().topic}


def test_rows_of_one_log_do_not_stand_in_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Reported({0: 3, 1: 2}, EXTRACTED[1:], logs=("t", "t@1")).lost(monkeypatch) == {1: [4]}
    one_each = Reported({}, EXTRACTED[1:])
    monkeypatch.setattr(
        one_each, "query", lambda *_, **__: SimpleNamespace(result_rows=[(0, 3, ["t"]), (1, 2, ["t@1"])])
    )
    assert one_each.lost(monkeypatch) == {1: [4]}


@pytest.mark.parametrize("revisions", [[], [SimpleNamespace(offsets=None)], [SimpleNamespace(offsets={})]])
def test_nothing_is_known_of_a_minute_that_was_never_reported_or_had_no_rows(
    revisions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = Reported({})
    reported.revisions = revisions
    assert reported.lost(monkeypatch) == {}
    assert (reported.asked, reported.stores) == ([], 0)


@pytest.mark.parametrize("code", ["NoSuchKey", "404"])
def test_nothing_is_known_of_a_minute_whose_extract_is_gone(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Reported({}, error=code).lost(monkeypatch) == {}


def test_a_store_that_refuses_is_not_taken_for_one_without_the_extract(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        Reported({}, error="AccessDenied").lost(monkeypatch)
