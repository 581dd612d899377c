"""Counting, summing and writing the account."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from producer.account import NO_PARTITION, Account, Counts, Outcome, Tally
from producer.traffic import Draft, Kind
from producer.user_event import UserEvent

MINUTE = int(datetime(2026, 11, 21, 10, 31, tzinfo=UTC).timestamp() * 1000)
USER = UUID(int=1)


def draft(kind: Kind = Kind.EVENT, at: int = MINUTE) -> Draft:
    return Draft(kind, UserEvent(USER, USER, USER, "view", "success", at, None, None, None, "mobile", "DE"))


def tally(*acknowledged: Draft) -> Tally:
    made = Tally()
    for each in acknowledged:
        made.made(each)
        made.acknowledged(each, 0)
    return made


def account(counts: Counts, **arguments: object) -> Account:
    now = datetime.now(UTC)
    return Account(topic="t", seed=1, workers=1, started_at=now, ended_at=now, counts=counts, **arguments)  # type: ignore[arg-type]


def test_every_outcome_is_counted_by_kind_and_by_partition() -> None:
    made = tally(draft(), draft(Kind.DUPLICATE))
    for _ in range(3):
        made.made(draft(Kind.TRUNCATED))
    made.acknowledged(draft(Kind.TRUNCATED), 4)
    made.failed(draft(Kind.TRUNCATED), 4, "_MSG_TIMED_OUT")
    made.failed(draft(Kind.TRUNCATED), NO_PARTITION, "_MSG_TIMED_OUT")

    counts = made.counts()

    assert counts.generated == {Kind.EVENT: 1, Kind.DUPLICATE: 1, Kind.TRUNCATED: 3}
    assert counts.kinds[Kind.TRUNCATED] == Outcome(acknowledged=1, failed=2)
    assert counts.partitions == {
        0: Outcome(acknowledged=2),
        4: Outcome(acknowledged=1, failed=1),
        NO_PARTITION: Outcome(failed=1),
    }
    assert counts.failures == {"_MSG_TIMED_OUT": 2}
    whole = account(counts)
    assert (whole.generated, whole.acknowledged, whole.failed) == (5, 3, 2)
    assert (whole.duplicates, whole.malformed, whole.ok) == (1, 1, False)


def test_first_and_last_minute_are_those_of_events_and_not_of_malformed_records() -> None:
    made = tally(
        draft(at=MINUTE + 59_999),
        draft(Kind.LATE, at=MINUTE - 1),
        draft(Kind.DUPLICATE, at=MINUTE + 60_000),
        draft(Kind.TIME_FAR_AHEAD, at=MINUTE * 1000),
        draft(Kind.TIME_FAR_BEHIND, at=0),
    )
    whole = account(made.counts())
    assert (whole.first_minute, whole.last_minute) == ("2026-11-21T10:30Z", "2026-11-21T10:32Z")


def test_an_account_of_nothing_is_whole_and_has_no_minutes() -> None:
    whole = account(Counts())
    assert (whole.generated, whole.first_minute, whole.last_minute, whole.ok) == (0, None, None, True)


def test_workers_add_up() -> None:
    one, two = tally(draft()), tally(draft(at=MINUTE + 60_000), draft(Kind.LATE))
    two.rejected = 3
    together = one.counts() + two.counts()
    assert together.generated == {Kind.EVENT: 2, Kind.LATE: 1}
    assert together.partitions == {0: Outcome(acknowledged=3)}
    assert together.rejected == 3
    assert (together.first_event_time, together.last_event_time) == (MINUTE, MINUTE + 60_000)
    assert Counts() + together == together + Counts() == together


@pytest.mark.parametrize("how", ["under way", "error"])
def test_it_is_not_ok_while_anything_is_open(how: str) -> None:
    made = tally(draft())
    if how == "under way":
        made.made(draft())
    errors = ("worker 1 died",) if how == "error" else ()
    assert not account(made.counts(), errors=errors).ok


def test_it_reads_back_what_it_wrote_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text("an older one")
    whole = account(tally(draft(), draft(Kind.DUPLICATE)).counts())
    whole.write(file)
    assert Account.read(file) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["account.json"]
    printed = json.loads(file.read_text())
    assert printed["generated"] == printed["acknowledged"] == 2
    assert printed["counts"]["partitions"] == {"0": {"acknowledged": 2, "failed": 0}}
