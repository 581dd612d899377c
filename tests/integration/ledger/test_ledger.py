"""The ledger's row through a minute's steps: what each writes, written again, and written by two runs at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from etar.clients import report_store_connection
from etar.errors import PermanentError
from etar.extracts import Extract, OffsetSpan
from etar.ledger import Ledger, LedgerEntry, Stage, StageCost, State, SupersededError, between
from etar.minute import MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from tests.integration.ledger.conftest import WINDOW, Book


def an_extract(rows: int = 5, **changes: Any) -> Extract:
    known: dict[str, Any] = {
        "minute": str(WINDOW),
        "rows": rows,
        "late_events": 1 if rows else 0,
        "dead_letters": 2,
        "offsets": {3: OffsetSpan(first=10, last=20, rows=rows)} if rows else {},
        "source": "s3a://etar/an/extract.parquet" if rows else None,
        "result": "s3a://etar/a/result.json",
        "object_key": "an/extract.parquet" if rows else None,
        "object_size": 4096 if rows else None,
        "object_etag": "abc" if rows else None,
    }
    return Extract.model_validate(known | changes)


def a_report(rows: int = 5, events: int = 4, *, revision: int = 1) -> PublishedReport:
    return PublishedReport(
        stream="user_interactions",
        minute=WINDOW.start,
        total_events=events,
        rows_read=rows,
        source_object="s3a://etar/an/extract.parquet",
        revision=revision,
        published_at=WINDOW.end,
    )


def run_to_the_end(ledger: Ledger, *, rows: int = 5, events: int = 4, revision: int = 1) -> None:
    for step in steps(ledger, rows=rows, events=events, revision=revision):
        step()


def steps(ledger: Ledger, *, rows: int = 5, events: int = 4, revision: int = 1) -> list[Callable[[], None]]:
    """Every write of a minute's run, in order."""
    return [
        lambda: ledger.began(WINDOW, Stage.SETTLE),
        lambda: ledger.settled(WINDOW, {3: 21}),
        lambda: ledger.began(WINDOW, Stage.EXTRACT),
        lambda: ledger.extracted(WINDOW, an_extract(rows)),
        lambda: ledger.began(WINDOW, Stage.ANALYSE),
        lambda: ledger.analysed(WINDOW),
        lambda: ledger.began(WINDOW, Stage.REPORT),
        lambda: ledger.reported(WINDOW, a_report(rows, events, revision=revision)),
    ]


def without_times(found: LedgerEntry) -> dict[str, Any]:
    return found.model_dump(exclude={"stages", "updated_at", "run_id"})


def test_each_step_says_how_far_the_minute_is(book: Book, ledger: Ledger) -> None:
    seen = []
    for step in steps(ledger):
        step()
        seen.append(book.entry().state)
    assert seen == ["open", "settled", "settled", "extracted", "extracted", "analysed", "analysed", "reported"]


def test_a_reported_minute_has_the_whole_account(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    found = book.entry()
    assert found.window == WINDOW
    assert found.model_dump(exclude={"stages", "minute"}) == {
        "stream": book.stream.name,
        "state": State.REPORTED,
        "run_id": "etar_pipeline/one",
        "received": 5,
        "duplicates": 1,
        "unique_events": 4,
        "late_events": 1,
        "dead_letters": 2,
        "offsets": {3: {"first": 10, "last": 20, "rows": 5}},
        "settled_offsets": {3: 21},
        "object_key": "an/extract.parquet",
        "object_size": 4096,
        "object_etag": "abc",
        "revision": 1,
        "error": None,
        "updated_at": book.clock.now,
    }
    times = [(times.started_at, times.ended_at) for times in found.stages.values()]
    ticks = [WINDOW.end + timedelta(seconds=n) for n in range(1, 9)]
    assert list(found.stages) == list(Stage)
    assert times == [(ticks[0], ticks[1]), (ticks[2], ticks[3]), (ticks[4], ticks[5]), (ticks[6], ticks[7])]
    assert book.history() == [found]


COSTS = {
    Stage.SETTLE: StageCost(cpu_seconds=0.25),
    Stage.EXTRACT: StageCost(rows=5, bytes=4096, cpu_seconds=0.5),
    Stage.ANALYSE: StageCost(rows=5, bytes=4096, cpu_seconds=1.5),
    Stage.REPORT: StageCost(rows=1, bytes=300, cpu_seconds=0.125),
}


def run_with_costs(ledger: Ledger) -> None:
    ledger.began(WINDOW, Stage.SETTLE)
    ledger.settled(WINDOW, {3: 21}, COSTS[Stage.SETTLE])
    ledger.began(WINDOW, Stage.EXTRACT)
    ledger.extracted(WINDOW, an_extract(), COSTS[Stage.EXTRACT])
    ledger.began(WINDOW, Stage.ANALYSE)
    ledger.analysed(WINDOW, COSTS[Stage.ANALYSE])
    ledger.began(WINDOW, Stage.REPORT)
    ledger.reported(WINDOW, a_report(), COSTS[Stage.REPORT])


def costs_of(entry: LedgerEntry) -> dict[Stage, StageCost | None]:
    return {stage: times.cost for stage, times in entry.stages.items()}


def test_each_stage_keeps_what_it_cost_with_its_minute_and_with_its_revision(book: Book, ledger: Ledger) -> None:
    run_with_costs(ledger)
    assert costs_of(book.entry()) == COSTS
    assert [costs_of(each) for each in book.history()] == [COSTS]
    times = [times for stage in book.entry().stages.values() for times in (stage.started_at, stage.ended_at)]
    assert times == [WINDOW.end + timedelta(seconds=n) for n in range(1, 9)], "costs change no times"
    found = book.connection.execute(
        'SELECT stage, "rows", bytes, cpu_seconds FROM stage_costs WHERE stream = %s', (book.stream.name,)
    ).fetchall()
    told = {stage: (cost.rows, cost.bytes, cost.cpu_seconds) for stage, cost in COSTS.items()}
    assert {stage: tuple(amounts) for stage, *amounts in found} == told


def test_a_stage_that_begins_anew_or_fails_has_no_cost_yet(book: Book, ledger: Ledger) -> None:
    run_with_costs(ledger)
    ledger.began(WINDOW, Stage.ANALYSE)
    known = {stage: COSTS[stage] for stage in (Stage.SETTLE, Stage.EXTRACT)}
    assert costs_of(book.entry()) == known | {Stage.ANALYSE: None}
    assert [costs_of(each) for each in book.history()] == [COSTS], "the revision keeps what it cost"
    ledger.began(WINDOW, Stage.SETTLE)
    ledger.failed(WINDOW, Stage.SETTLE, "gone")
    assert costs_of(book.entry()) == {Stage.SETTLE: None}


def test_a_row_from_before_costs_were_kept_is_told_as_it_always_was(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    for stage in book.entry().model_dump(mode="json")["stages"].values():
        assert list(stage) == ["started_at", "ended_at"]


def test_an_empty_minute_is_reported_without_an_object_and_without_an_analysis(book: Book, ledger: Ledger) -> None:
    ledger.began(WINDOW, Stage.SETTLE)
    ledger.settled(WINDOW, {3: 0})
    ledger.extracted(WINDOW, an_extract(0))
    ledger.reported(WINDOW, a_report(rows=0, events=0))
    found = book.entry()
    assert (found.state, found.received, found.unique_events, found.duplicates) == (State.REPORTED, 0, 0, 0)
    assert (found.object_key, found.object_size, found.object_etag, found.offsets) == (None, None, None, {})


@pytest.mark.parametrize("step", range(8))
def test_a_step_that_is_repeated_changes_nothing_but_times(book: Book, ledger: Ledger, step: int) -> None:
    done = steps(ledger)[: step + 1]
    for each in done:
        each()
    before = without_times(book.entry())
    for _ in range(2):
        done[-1]()
        assert without_times(book.entry()) == before


def test_three_runs_of_the_same_rows_are_one_row_and_one_revision(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    first = without_times(book.entry())
    for _ in range(2):
        run_to_the_end(ledger)
        assert without_times(book.entry()) == first
        assert len(book.history()) == 1


def test_a_new_attempt_forgets_all_but_the_revision_and_history_keeps_it(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    reported = book.entry()
    ledger.began(WINDOW, Stage.SETTLE)
    found = book.entry()
    assert (found.state, found.revision, found.error) == (State.OPEN, 1, None)
    assert (found.received, found.unique_events, found.offsets, found.object_key) == (None, None, None, None)
    assert list(found.stages) == [Stage.SETTLE]
    assert found.stages[Stage.SETTLE].ended_at is None
    assert book.history() == [reported]


def test_a_second_revision_joins_the_first(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    run_to_the_end(ledger, rows=8, events=6, revision=2)
    history = book.history()
    assert [(each.revision, each.received, each.unique_events, each.duplicates) for each in history] == [
        (1, 5, 4, 1),
        (2, 8, 6, 2),
    ]
    assert history[-1] == book.entry()


def test_an_extract_of_a_reported_minute_takes_back_what_the_report_said(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    ledger.began(WINDOW, Stage.EXTRACT)
    assert book.entry().state is State.REPORTED
    ledger.extracted(WINDOW, an_extract(8))
    found = book.entry()
    assert (found.state, found.received, found.unique_events, found.duplicates) == (State.EXTRACTED, 8, None, None)
    assert list(found.stages) == [Stage.SETTLE, Stage.EXTRACT]


def test_a_failed_minute_says_where_and_why_and_is_at_work_again_with_the_next_start(
    book: Book, ledger: Ledger
) -> None:
    for step in steps(ledger)[:3]:
        step()
    ledger.failed(WINDOW, Stage.EXTRACT, "no \x00 warehouse" + 3000 * "!")
    found = book.entry()
    assert (found.state, found.error) == (State.FAILED, "no  warehouse" + (2000 - 13) * "!")
    assert found.stages[Stage.EXTRACT].ended_at is not None
    ledger.began(WINDOW, Stage.EXTRACT)
    found = book.entry()
    assert (found.state, found.error) == (State.SETTLED, None)


@pytest.mark.parametrize("stage", Stage)
def test_a_failure_to_report_again_does_not_undo_the_report(book: Book, ledger: Ledger, stage: Stage) -> None:
    run_to_the_end(ledger)
    before = book.entry()
    ledger.failed(WINDOW, stage, "the API was away")
    assert book.entry() == before


def test_a_step_goes_on_from_the_extract_that_was_reported_and_from_no_other(book: Book, ledger: Ledger) -> None:
    for step in steps(ledger)[:-1]:
        step()
        ledger.require_current(WINDOW, 5)
    run_to_the_end(ledger)
    ledger.require_current(WINDOW, 5)
    for rows in (4, 6):
        with pytest.raises(SupersededError, match="reported from 5 rows since"):
            ledger.require_current(WINDOW, rows)


def test_a_minute_that_was_left_as_it_is_had_its_turn(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    before = book.entry()
    book.written_by("etar_reconcile/two").left(WINDOW)
    assert book.entry() == before.model_copy(update={"updated_at": book.clock.now})
    assert book.clock.now > before.updated_at
    ledger.left(WINDOW.next)
    assert between(book.connection, book.stream, WINDOW.next, WINDOW.next.next) == []


def test_a_failure_before_any_other_write_is_known_too(book: Book, ledger: Ledger) -> None:
    ledger.failed(WINDOW, Stage.SETTLE, "the ledger was away")
    assert book.entry().state is State.FAILED


class TestTwoRuns:
    @pytest.fixture
    def other(self, book: Book) -> Ledger:
        return book.written_by("etar_reconcile/two")

    def test_whoever_writes_last_has_the_row(self, book: Book, ledger: Ledger, other: Ledger) -> None:
        run_to_the_end(ledger)
        run_to_the_end(other)
        assert book.entry().run_id == "etar_reconcile/two"

    def test_stages_are_those_of_one_run(self, book: Book, ledger: Ledger, other: Ledger) -> None:
        ledger.began(WINDOW, Stage.SETTLE)
        ledger.settled(WINDOW, {})
        other.began(WINDOW, Stage.EXTRACT)
        assert list(book.entry().stages) == [Stage.EXTRACT]
        ledger.extracted(WINDOW, an_extract())
        assert list(book.entry().stages) == [Stage.EXTRACT]
        assert book.entry().run_id == "etar_pipeline/one"

    def test_a_run_that_lost_the_minute_cannot_call_it_failed(self, book: Book, ledger: Ledger, other: Ledger) -> None:
        ledger.began(WINDOW, Stage.SETTLE)
        run_to_the_end(other)
        before = book.entry()
        ledger.failed(WINDOW, Stage.SETTLE, "timed out")
        assert book.entry() == before

    @pytest.mark.parametrize("reached", range(1, 8))
    def test_a_report_is_written_beside_the_counts_of_its_own_extract_or_not_at_all(
        self, book: Book, ledger: Ledger, other: Ledger, reached: int
    ) -> None:
        mine = steps(ledger)
        for step in mine[:-1]:
            step()
        for step in steps(other, rows=8, events=6, revision=2)[:reached]:
            step()
        before = book.entry()
        with pytest.raises(SupersededError, match="report of 5 rows") as refused:
            mine[-1]()
        assert isinstance(refused.value, PermanentError)
        assert book.entry() == before
        assert book.history() == []

    @pytest.mark.parametrize("first", range(0, 8, 2))
    @pytest.mark.parametrize("second", range(0, 8, 2))
    def test_any_two_runs_at_once_end_in_one_account(
        self, book: Book, ledger: Ledger, other: Ledger, first: int, second: int
    ) -> None:
        """The second run starts when the first has done ``first`` writes, and is then ``second`` writes ahead."""
        mine, others = steps(ledger), steps(other)
        order = [*mine[:first], *others[:second], *mine[first:], *others[second:]]
        for step in order:
            try:
                step()
            except SupersededError:
                assert step is mine[-1]
        found = book.entry()
        assert (found.state, found.received, found.unique_events, found.revision) == (State.REPORTED, 5, 4, 1)
        assert [each.revision for each in book.history()] == [1]


def test_a_revision_that_nobody_wrote_down_joins_the_history_with_the_next(book: Book, ledger: Ledger) -> None:
    """Published by a run that was killed before it wrote to the ledger; the next run had more rows."""
    report = a_report(rows=5, events=4)
    with book.connection.transaction():
        book.connection.execute(
            "INSERT INTO reports (stream, minute, revision, content) VALUES (%s, %s, 1, %s)",
            (book.stream.name, WINDOW.start, Jsonb(report.content)),
        )
    run_to_the_end(ledger, rows=8, events=6, revision=2)
    unwritten, known = book.history()
    assert (unwritten.revision, unwritten.received, unwritten.unique_events, unwritten.duplicates) == (1, 5, 4, 1)
    assert (unwritten.run_id, unwritten.late_events, unwritten.offsets, unwritten.stages) == (None, None, None, {})
    assert known == book.entry()


@pytest.mark.parametrize(
    ("first", "end", "expected"),
    [(-1, 0, []), (-1, 1, [0]), (0, 1, [0]), (0, 2, [0, 1]), (1, 2, [1]), (1, 1, []), (2, 9, [2]), (3, 9, [])],
)
def test_a_range_has_its_start_and_not_its_end(
    book: Book, ledger: Ledger, first: int, end: int, expected: list[int]
) -> None:
    def minute(count: int) -> MinuteWindow:
        return MinuteWindow(WINDOW.start + count * timedelta(minutes=1))

    for count in (2, 0, 1):
        ledger.began(minute(count), Stage.SETTLE)
    found = between(book.connection, book.stream, minute(first), minute(end))
    assert [each.window for each in found] == [minute(count) for count in expected]


def test_a_range_can_be_of_some_states_only(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    ledger.began(WINDOW.next, Stage.SETTLE)
    ledger.failed(WINDOW.next.next, Stage.SETTLE, "no sink")

    def found(*states: State) -> list[State]:
        return [each.state for each in between(book.connection, book.stream, WINDOW, WINDOW.next.next.next, states)]

    assert found() == ["reported", "open", "failed"]
    assert found(State.OPEN, State.FAILED) == ["open", "failed"]
    assert found(State.REPORTED) == ["reported"]
    assert found(State.ANALYSED) == []


def test_streams_do_not_see_each_other(book: Book, ledger: Ledger) -> None:
    run_to_the_end(ledger)
    other = replace(book, stream=Stream(f"{book.stream.name}-other"))
    run_to_the_end(other.written_by("etar_pipeline/other"), rows=8)
    assert (book.entry().received, other.entry().received) == (5, 8)
    assert (len(book.history()), len(other.history())) == (1, 1)


def test_a_write_is_there_for_everybody_when_the_call_returns(
    report_store: ReportStoreSettings, book: Book, ledger: Ledger
) -> None:
    run_to_the_end(ledger)
    with report_store_connection(report_store) as elsewhere:
        seen = replace(book, connection=elsewhere)
        assert (seen.entry(), seen.history()) == (book.entry(), book.history())


def test_a_connection_in_the_middle_of_a_transaction_is_refused(book: Book) -> None:
    book.connection.execute("SELECT 1")
    with pytest.raises(psycopg.ProgrammingError, match="autocommit"):
        book.written_by("etar_pipeline/one")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param("minute = minute + interval '1 second'", id="not a minute"),
        pytest.param("state = 'done'", id="unknown state"),
        pytest.param("duplicates = 2", id="counts that do not add up"),
        pytest.param("revision = NULL", id="reported without a revision"),
        pytest.param("late_events = 6", id="more late events than events"),
        pytest.param("state = 'failed'", id="failed without an error"),
    ],
)
def test_the_table_refuses_a_row_that_cannot_be(book: Book, ledger: Ledger, changes: str) -> None:
    run_to_the_end(ledger)
    with pytest.raises(psycopg.errors.CheckViolation):
        book.connection.execute(f"UPDATE minutes SET {changes} WHERE stream = %s".encode(), (book.stream.name,))
