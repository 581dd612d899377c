"""Summing and writing the account."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from rich.console import Console

from producer.account import Account, Counts, Outcome, RejectReason
from producer.command import account_table, exit_code, what_is_missing
from producer.kinds import Kind
from tests.unit.producer.drafts import MINUTE, draft, tally


def account(counts: Counts, **arguments: object) -> Account:
    now = datetime.now(UTC)
    return Account(topic="t", seed=1, workers=1, started_at=now, ended_at=now, counts=counts, **arguments)  # type: ignore[arg-type]


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
    for _ in range(3):
        two.rejected()
    together = one.counts() + two.counts()
    assert together.generated == {Kind.EVENT: 2, Kind.LATE: 1}
    assert together.partitions == {0: Outcome(acknowledged=3)}
    assert together.rejected == 3
    assert (together.first_event_time, together.last_event_time) == (MINUTE, MINUTE + 60_000)
    assert Counts() + together == together + Counts() == together


@pytest.mark.parametrize(("in_doubt", "ok"), [(0, False), (1, False), (2, True)])
def test_it_is_ok_once_every_record_is_acknowledged_or_in_doubt_for_a_reason(in_doubt: int, ok: bool) -> None:
    made = tally(draft())
    made.made(Kind.EVENT)
    made.made(Kind.LATE)
    assert made.counts().under_way == 2
    assert account(made.counts(), in_doubt=in_doubt).ok is ok


def test_it_is_not_ok_with_a_failed_record() -> None:
    made = tally(draft())
    made.made(Kind.EVENT)
    made.failed(Kind.EVENT, 0, KafkaError(KafkaError._MSG_TIMED_OUT))
    assert made.counts().under_way == 0
    assert not account(made.counts()).ok


def test_a_failed_record_may_have_been_sent_if_it_failed_for_want_of_an_answer() -> None:
    made = tally(draft())
    codes = (KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError.INVALID_MSG)
    for code in codes:
        made.made(Kind.EVENT)
        made.failed(Kind.EVENT, 0, KafkaError(code))
    assert account(made.counts(), in_doubt=1).perhaps_sent == 3
    assert account(made.counts(), in_doubt=1).in_doubt == 1


def test_it_is_not_ok_with_an_error() -> None:
    assert not account(tally(draft()).counts(), errors=("worker 1 died",)).ok


def test_it_sums_up() -> None:
    made = tally(draft(), draft(Kind.DUPLICATE), draft(Kind.TRUNCATED))
    made.made(Kind.EVENT)
    made.failed(Kind.EVENT, 0, KafkaError(KafkaError._MSG_TIMED_OUT))
    whole = account(made.counts())
    assert (whole.generated, whole.acknowledged, whole.failed) == (4, 3, 1)
    assert (whole.duplicates, whole.malformed) == (1, 1)


def test_an_account_without_doubts_reads_as_one_that_knows_of_none(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    document = json.loads(account(tally(draft()).counts()).model_dump_json())
    del document["in_doubt"], document["respawns"]
    file.write_text(json.dumps(document))
    assert (Account.read(file).in_doubt, Account.read(file).respawns) == (0, 0)


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


EVENTS = {Kind.EVENT: Outcome(acknowledged=2)}


@pytest.mark.parametrize(
    ("counts", "errors", "code"),
    [
        (Counts(generated={Kind.EVENT: 2}, kinds=EVENTS), (), 0),
        (Counts(), (), 0),
        (Counts(generated={Kind.EVENT: 2}, kinds=EVENTS, rejected=1), (), 3),
        (Counts(generated={Kind.EVENT: 2}, kinds=EVENTS, disbelieved=1), (), 3),
        (Counts(generated={Kind.EVENT: 2}, kinds=EVENTS, disbelieved=2), (), 1),
        (Counts(rejected=700), (), 1),
        (Counts(), ("stopped before the first line",), 1),
        (Counts(generated={Kind.EVENT: 2}, kinds=EVENTS, rejected=1), ("stopped",), 1),
        (Counts(generated={Kind.EVENT: 3}, kinds=EVENTS, rejected=1), (), 1),
    ],
)
def test_the_exit_code_tells_all_from_some_from_nothing(counts: Counts, errors: tuple[str, ...], code: int) -> None:
    assert exit_code(account(counts, errors=errors)) == code


def test_what_is_missing_is_said_by_reason_with_an_example() -> None:
    reason = RejectReason(reason="amount is not a number", lines=1, file="a.csv", line=7, example="amount is 'x'")
    [first, second, third] = what_is_missing(
        account(Counts(rejected=1, disbelieved=1200), reject_file=Path("r.jsonl"), reject_reasons=(reason,))
    )
    assert first == "1 line is no event; each with its reason in r.jsonl:"
    assert second == "  1 x amount is not a number (a.csv, line 7: amount is 'x')"
    assert third.startswith("1,200 events are too old or too far ahead")
    assert what_is_missing(account(Counts())) == []


def test_a_person_gets_a_table_of_what_there_is() -> None:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(account_table(account(Counts(generated={Kind.EVENT: 1234}, rejected=5))))
    lines = {tuple(line.rsplit(maxsplit=1)) for line in shown.get().splitlines()}
    assert {("records made", "1,234"), ("lines rejected", "5")} <= lines
    assert "in doubt" not in shown.get()
