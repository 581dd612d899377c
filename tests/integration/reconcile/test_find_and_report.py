"""Reconciling on the real ledger, table, offsets, objects and reports: what is found, and that it is then right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etar.ledger import Stage, State, revisions
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.affected import EXPIRY_MARGIN, Affected, Cause
from tests.integration.reconcile.world import RETENTION, World

HOUR = timedelta(hours=1)


@pytest.fixture
def since(world: World) -> MinuteWindow:
    """The first of three minutes that are over."""
    return MinuteWindow.containing(world.now - 3 * MINUTE)


@pytest.fixture
def reported(world: World, since: MinuteWindow) -> MinuteWindow:
    """The first minute, reported with two rows and one dead letter; so are the minutes after it, without any."""
    world.arrive([world.row(since), world.row(since)])
    world.arrive_bad(world.letters(since, 1))
    assert world.run(since) == {}
    assert world.causes(since) == {}
    return since


def test_minutes_without_a_run_are_reported_once(world: World, since: MinuteWindow) -> None:
    world.arrive([world.row(since), world.row(since)])
    found = world.causes(since)
    assert set(found.values()) == {Cause.MISSING}
    assert min(found) == since
    for _ in range(3):
        assert world.run(since) == {}
    entries = world.entries(since)
    assert entries.keys() >= found.keys()
    assert {entry.state for entry in entries.values()} == {State.REPORTED}
    assert {entry.revision for entry in entries.values()} == {1}
    assert (world.served(since)["total_events"], world.served(since.next)["total_events"]) == (2, 0)


def test_late_rows_make_the_next_revision(world: World, reported: MinuteWindow) -> None:
    event = world.row(reported)
    world.arrive([event, world.row(reported, event=event[0])])
    (late,) = world.find(reported)
    assert (late.window, late.cause) == (reported, Cause.LATE)
    assert "2 rows more" in late.detail
    assert world.run(reported) == {}
    entry = world.entries(reported)[reported]
    assert (entry.revision, entry.received, entry.unique_events, entry.duplicates) == (2, 4, 3, 1)
    assert (world.served(reported)["revision"], world.served(reported)["total_events"]) == (2, 3)
    assert world.causes(reported) == {}
    assert [each.revision for each in revisions(world.connection, world.stream, reported)] == [1, 2]


def test_late_rows_of_an_empty_minute_are_found(world: World, reported: MinuteWindow) -> None:
    world.arrive([world.row(reported.next)])
    assert world.causes(reported) == {reported.next: Cause.LATE}


def test_records_delivered_again_are_no_change_while_the_table_holds_both_copies(
    world: World, reported: MinuteWindow
) -> None:
    # No part is small enough to be merged.
    world.client.command(f"ALTER TABLE {world.stream.table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    rows = [world.row(reported.next), world.row(reported.next)]
    letters = world.letters(reported.next, 2)
    world.arrive(rows)
    world.arrive_bad(letters)
    assert world.run(reported) == {}
    world.arrive(rows)
    world.arrive_bad(letters)
    assert world.client.command(f"SELECT count() FROM {world.stream.table}") == 2 + 4, "copies must not be merged"
    assert world.causes(reported) == {}
    world.arrive([world.row(reported.next)])
    assert world.causes(reported) == {reported.next: Cause.LATE}


def test_rows_of_a_minute_that_is_not_over_are_nobodys(world: World, reported: MinuteWindow) -> None:
    world.arrive([world.row(MinuteWindow.containing(world.now))])
    assert world.causes(reported) == {}


def test_minutes_before_the_deployment_are_reported_if_they_have_rows(world: World, reported: MinuteWindow) -> None:
    hours_ago = MinuteWindow(reported.start - 5 * HOUR)
    oldest = MinuteWindow.first_at_or_after(world.now - RETENTION + EXPIRY_MARGIN)
    world.arrive([world.row(window) for window in (oldest.previous, oldest, hours_ago, reported.previous)])
    found = world.causes(reported)
    assert found == dict.fromkeys((oldest, hours_ago, reported.previous), Cause.MISSING), "none without rows"
    assert world.run(reported) == {}
    assert {world.served(window)["total_events"] for window in found} == {1}
    assert world.causes(reported) == {}
    world.arrive([world.row(hours_ago)])
    assert world.causes(reported) == {hours_ago: Cause.LATE}


def test_dead_letters_that_come_or_go_are_found(world: World, reported: MinuteWindow) -> None:
    world.arrive_bad(world.letters(reported, 1))
    assert world.causes(reported) == {reported: Cause.DISAGREES}
    assert world.run(reported) == {}
    assert world.entries(reported)[reported].dead_letters == 2
    assert world.served(reported)["revision"] == 1, "the report does not depend on dead letters"
    assert world.causes(reported) == {}
    world.client.command("DELETE FROM dead_letters WHERE _topic = {t:String}", parameters={"t": world.stream.topic})
    assert world.causes(reported) == {reported: Cause.DISAGREES}
    assert world.run(reported) == {}
    assert world.entries(reported)[reported].dead_letters == 0


def test_a_report_that_somebody_else_posted_is_replaced(world: World, reported: MinuteWindow) -> None:
    forged = dict(world.served(reported)) | {"total_events": 1, "unique_users": 1}
    forged["event_types"] = {"view": {"success": 1, "error": 0}}
    for unsent in ("revision", "published_at", "error_rate"):
        del forged[unsent]
    assert world.api.writer.post("/report", json=forged).status_code == 201
    assert world.causes(reported) == {reported: Cause.DISAGREES}
    assert world.run(reported) == {}
    assert (world.served(reported)["revision"], world.served(reported)["total_events"]) == (3, 2)
    assert world.causes(reported) == {}


def test_a_failed_minute_is_taken_at_once_and_an_unfinished_one_when_it_is_stale(
    world: World, reported: MinuteWindow
) -> None:
    failed, at_work = reported, reported.next
    ledger = world.ledger()
    for window in (failed, at_work):
        ledger.began(window, Stage.SETTLE)
    ledger.failed(failed, Stage.SETTLE, "gone")
    assert world.causes(reported) == {failed: Cause.FAILED}
    begun = world.entries(reported)[at_work].updated_at
    tick = timedelta(microseconds=1)
    end = world.policy.stale
    assert world.causes(reported, now=begun + end - tick).get(at_work) is None
    assert world.causes(reported, now=begun + end).get(at_work) == Cause.STALE


def test_a_minute_that_the_sink_is_behind_is_left_as_it_is(world: World, since: MinuteWindow) -> None:
    world.append(3)
    ended = MinuteWindow.containing(datetime.now(UTC)).previous
    in_kafka = Affected(MinuteWindow.containing(datetime.now(UTC)), Cause.NAMED, "")
    settled = Affected(ended.previous, Cause.NAMED, "")
    world.commit(2)
    extracts, failures = world.extract([settled, in_kafka], world.ledger())
    assert [each.minute for each in extracts] == [str(settled.window)]
    assert failures.reasons == {}
    assert in_kafka.window not in world.entries(since)
    world.commit(3)
    extracts, _ = world.extract([in_kafka], world.ledger())
    assert [each.minute for each in extracts] == [str(in_kafka.window)]
    assert world.entries(since)[in_kafka.window].settled_offsets == {0: 3, 1: 0}


def test_a_minute_that_has_left_the_table_meanwhile_keeps_its_row(world: World, since: MinuteWindow) -> None:
    ledger = world.ledger()
    windows = [MinuteWindow.containing(world.now - RETENTION - past * MINUTE) for past in (0, 1)]
    for window in windows:
        ledger.began(window, Stage.SETTLE)
    before = world.entries(windows[-1])
    extracts, failures = world.extract([Affected(window, Cause.NAMED, "") for window in windows], world.ledger())
    assert (extracts, failures.reasons) == ([], {})
    assert world.entries(windows[-1]) == before


def test_a_minute_that_cannot_be_extracted_stops_no_other(
    world: World, since: MinuteWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.arrive([world.row(since), world.row(since.next)])
    whole = world.extract_one

    def refusing(window: MinuteWindow) -> Any:
        if window == since:
            raise RuntimeError("this part of the table is broken")
        return whole(window)

    monkeypatch.setattr(world, "extract_one", refusing)
    failed = world.run(since)
    assert list(failed) == [str(since)]
    assert "extract: RuntimeError: this part of the table is broken" in failed[str(since)]
    entries = world.entries(since)
    assert (entries[since].state, entries[since.next].state) == (State.FAILED, State.REPORTED)
    assert "this part of the table is broken" in (entries[since].error or "")

    monkeypatch.setattr(world, "extract_one", whole)
    assert world.causes(since) == {since: Cause.FAILED}
    assert world.run(since) == {}
    assert world.served(since)["revision"] == 1


def test_a_minute_that_spark_could_not_count_stops_no_other(world: World, reported: MinuteWindow) -> None:
    """Its result is an older one, or absent; neither may become the report of the new extract."""
    world.arrive([world.row(reported), world.row(reported.next)])
    ledger = world.ledger()
    extracts, _ = world.extract(world.find(reported), ledger)
    for analysed in ([], extracts[1:]):
        world.analyse(analysed)
        failures = world.report(extracts, ledger)
        assert set(failures.reasons) == {each.minute for each in extracts if each not in analysed}
    entries = world.entries(reported)
    assert (entries[reported].state, entries[reported.next].state) == (State.FAILED, State.REPORTED)
    assert entries[reported].stages[Stage.ANALYSE].ended_at is not None
    assert world.served(reported)["revision"] == 1
    assert world.run(reported) == {}
    assert (world.served(reported)["revision"], world.served(reported.next)["revision"]) == (2, 2)


def test_many_late_minutes_are_taken_in_bounded_batches_until_none_is_left(world: World) -> None:
    since = MinuteWindow.containing(world.now - 12 * MINUTE)
    world.policy = world.policy.model_copy(update={"batch_minutes": 100})
    assert world.run(since) == {}
    windows = list(MinuteWindow.between(since, MinuteWindow(since.start + 10 * MINUTE)))
    world.arrive([world.row(window) for window in windows])
    world.policy = world.policy.model_copy(update={"batch_minutes": 3})
    left = []
    while late := [window for window, cause in world.causes(since).items() if cause == Cause.LATE]:
        left.append(late)
        assert world.run(since) == {}
    assert left[0] == windows
    assert left[1] == windows[2:-1]
    assert [len(each) for each in left] == [10, 7, 4, 1]
    assert {world.served(window)["revision"] for window in windows} == {2}
