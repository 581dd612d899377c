"""Dead letters from the producer's faults to good rows again, through a real Kafka, registry, sink and warehouse."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from etar.dead_letter_office.document import Form
from etar.dead_letter_office.front_door import REPLAY_ID, REPLAY_OF
from etar.dead_letter_office.office import Office, Outcome
from etar.dead_letter_office.repair import Fields, Repair, patch_repair
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.letters import LetterId, Selection, State, UnknownLetterError
from etar.instants import MILLISECOND, to_milliseconds
from etar.minute import MINUTE, MinuteWindow
from producer.kinds import Kind
from tests.integration.dead_letters.conftest import PARTITION_OF_LETTERS, Desk, a_user_event
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA
from tests.user_events import UserEvent

REASONS = {
    Kind.NOT_AVRO: Reason.NOT_AVRO,
    Kind.UNKNOWN_SCHEMA_ID: Reason.UNKNOWN_SCHEMA_ID,
    Kind.TRUNCATED: Reason.TRUNCATED,
    Kind.TRAILING_BYTES: Reason.TRAILING_BYTES,
    Kind.NULL_VALUE: Reason.NULL_VALUE,
    Kind.EMPTY_VALUE: Reason.EMPTY_VALUE,
    Kind.TIME_FAR_AHEAD: Reason.OUT_OF_RANGE,
    Kind.TIME_FAR_BEHIND: Reason.TOO_LATE,
}
FORMS = {
    Kind.NOT_AVRO: Form.JSON,
    Kind.UNKNOWN_SCHEMA_ID: Form.GUESS,
    Kind.TRUNCATED: Form.AVRO_IN_PART,
    Kind.TRAILING_BYTES: Form.AVRO,
    Kind.NULL_VALUE: Form.NOTHING,
    Kind.EMPTY_VALUE: Form.NOTHING,
    Kind.TIME_FAR_AHEAD: Form.AVRO,
    Kind.TIME_FAR_BEHIND: Form.AVRO,
}


def plain(event: UserEvent) -> Fields:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in event._asdict().items()}


def knowing(events: dict[LetterId, tuple[Kind, UserEvent]]) -> Repair:
    """A repair that knows what each record was meant to be."""
    return lambda _fields, letter: plain(events[LetterId.of(letter)][1])


def refused(outcomes: list[Outcome]) -> dict[LetterId, str]:
    return {outcome.letter: outcome.what for outcome in outcomes if not outcome.done}


def open_ids(office: Office) -> list[LetterId]:
    return [summary.id for summary, _ in office.find(Selection(states=frozenset({State.OPEN})))]


def test_every_kind_the_producer_can_spoil_is_listed_with_its_reason_and_shown_as_far_as_it_goes(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    with desk.office() as office:
        listed = {summary.id: summary.reason for summary, state in office.find(Selection()) if state is State.OPEN}
        shown = {letter: office.show(letter) for letter in sent}

    assert listed == {letter: REASONS[kind] for letter, (kind, _) in sent.items()}
    for letter, (kind, event) in sent.items():
        document = shown[letter].document
        assert (kind, document.form) == (kind, FORMS[kind])
        assert (shown[letter].headers, shown[letter].changes) == ([], [])
        whole = plain(event)
        if kind in (Kind.TIME_FAR_AHEAD, Kind.TIME_FAR_BEHIND):
            assert document.fields == whole | {"event_time": document.fields["event_time"]}
        elif document.form in (Form.AVRO, Form.GUESS):
            assert document.fields == whole
        elif document.form in (Form.AVRO_IN_PART, Form.JSON):
            assert document.fields == {"event_id": whole["event_id"]}
        else:
            assert not document.fields


def test_a_letter_that_is_not_there_is_said_to_be_unknown(desk: Desk) -> None:
    desk.one_of_each_kind()
    desk.consume()
    with desk.office() as office:
        with pytest.raises(UnknownLetterError, match="5:77"):
            office.show(LetterId(5, 77))
        with pytest.raises(UnknownLetterError, match="5:77, 5:78"):
            list(office.find(Selection(ids=(LetterId(2, 0), LetterId(5, 77), LetterId(5, 78)))))


def test_times_bound_the_append_time_half_open(desk: Desk) -> None:
    desk.one_of_each_kind()
    desk.consume()
    desk.lane.produce([b"later"], partition=PARTITION_OF_LETTERS)
    desk.consume()
    with desk.office() as office:
        last = next(summary for summary, _ in office.find(Selection(ids=(LetterId(PARTITION_OF_LETTERS, 8),))))
        instant, tick = last.appended, timedelta(milliseconds=1)

        def found(**bounds: Any) -> bool:
            return last.id in [summary.id for summary, _ in office.find(Selection(**bounds))]

        assert [found(first=instant + shift) for shift in (-tick, 0 * tick, tick)] == [True, True, False]
        assert [found(end=instant + shift) for shift in (-tick, 0 * tick, tick)] == [False, False, True]


FIXES: dict[Kind, Callable[[Fields], list[dict[str, Any]]]] = {
    Kind.NOT_AVRO: lambda whole: [{"op": "add", "path": f"/{name}", "value": value} for name, value in whole.items()],
    Kind.UNKNOWN_SCHEMA_ID: lambda _: [],
    Kind.TRUNCATED: lambda whole: [{"op": "add", "path": f"/{name}", "value": value} for name, value in whole.items()],
    Kind.TRAILING_BYTES: lambda _: [],
    Kind.NULL_VALUE: lambda whole: [{"op": "add", "path": "", "value": whole}],
    Kind.EMPTY_VALUE: lambda whole: [{"op": "replace", "path": "", "value": whole}],
    Kind.TIME_FAR_AHEAD: lambda whole: [{"op": "replace", "path": "/event_time", "value": whole["event_time"]}],
    Kind.TIME_FAR_BEHIND: lambda whole: [{"op": "replace", "path": "/event_time", "value": whole["event_time"]}],
}


def test_each_kind_is_fixed_by_a_patch_and_replayed_into_exactly_one_row(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    with desk.office("etar dead-letters …") as office:
        for letter, (kind, event) in sent.items():
            repair = patch_repair(json.dumps(FIXES[kind](plain(event))))
            selection = Selection(ids=(letter,))
            assert list(office.fix(selection, repair, schema_id=None, apply=True)) == [Outcome(letter, True, "fixed")]
        outcomes = list(office.replay(Selection(), apply=True))
        assert len(outcomes) == len(sent)
        assert not refused(outcomes)
        assert open_ids(office) == []
    desk.consume()

    assert desk.rows() == (len(sent), len(sent))
    stored = {UUID(str(row[0])) for row in desk.lane.rows("event_id")}
    assert stored == {event.event_id for _, event in sent.values()}
    assert len(desk.lane.dead_letters()) == len(sent)
    desk.lane.assert_every_offset_is_in_one_place()
    replays = desk.query(
        'SELECT "partition", "offset", of_partition, of_offset FROM replayed_records WHERE topic = %s', desk.lane.topic
    )
    assert sorted(replays) == [(2, place + len(sent), 2, place) for place in range(len(sent))]
    headers = {message.offset(): dict(message.headers() or []) for message in desk.records()}
    for _, offset, of_partition, of_offset in replays:
        assert headers[offset][REPLAY_OF].decode() == f"{desk.lane.topic}/{of_partition}/{of_offset}"
        assert UUID(headers[offset][REPLAY_ID].decode())
    assert all(message.key() == b"k" * 16 for message in desk.records())


def test_nothing_changes_without_apply(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    with desk.office() as office:
        everything = Selection()
        assert not refused(list(office.fix(everything, knowing(sent), schema_id=None, apply=False)))
        assert not refused(list(office.replay(everything, repair=knowing(sent), apply=False)))
        assert not refused(list(office.discard(everything, "no use", undo=False, apply=False)))
        assert set(open_ids(office)) == set(sent)
    assert desk.query("SELECT * FROM dead_letter_changes WHERE topic = %s", desk.lane.topic) == []
    assert desk.query("SELECT * FROM dead_letter_replays WHERE topic = %s", desk.lane.topic) == []
    assert len(desk.records()) == len(sent)


def test_a_fix_that_does_not_do_says_which_field_is_still_wrong(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    letter = next(letter for letter, (kind, _) in sent.items() if kind is Kind.TIME_FAR_AHEAD)
    with desk.office() as office:

        def why(*operations: dict[str, Any]) -> str:
            repair = patch_repair(json.dumps(operations))
            outcomes = list(office.fix(Selection(ids=(letter,)), repair, schema_id=None, apply=True))
            return refused(outcomes)[letter]

        assert "event_time: the instant" in why()
        assert "can't remove" in why({"op": "remove", "path": "/nothing"})
        assert "field user_id" in why({"op": "replace", "path": "/user_id", "value": 5})
        assert "Field device" in why({"op": "remove", "path": "/device"})
        assert "evnt_time" in why({"op": "add", "path": "/evnt_time", "value": 5})
        assert "user_id: expected a UUID" in why(
            {"op": "replace", "path": "/event_time", "value": sent[letter][1].event_time},
            {"op": "replace", "path": "/user_id", "value": "nobody"},
        )
        two_days = sent[letter][1].event_time - 2 * 24 * 3_600_000
        assert "too_late" in why({"op": "replace", "path": "/event_time", "value": two_days})
        assert office.show(letter).fixed is None
        assert letter in refused(list(office.replay(Selection(ids=(letter,)), apply=True)))
    assert len(desk.records()) == len(sent)


def test_a_record_that_is_still_bad_goes_only_by_force(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    with desk.office() as office:
        assert len(refused(list(office.replay(Selection(), apply=True)))) == len(sent)
        assert len(desk.records()) == len(sent)
        assert not refused(list(office.replay(Selection(), force=True, apply=True)))
    desk.consume()
    assert desk.rows() == (0, 0)
    with desk.office() as office:
        assert {letter.offset for letter in open_ids(office)} == {place + len(sent) for place in range(len(sent))}


def test_a_schema_that_was_registered_since_makes_a_good_record_of_a_letter(desk: Desk) -> None:
    desk.lane.produce([b"\0" + (2**31 - 2).to_bytes(4, "big") + desk.lane.good(1)[0][5:]], partition=1)
    desk.consume()
    letter = LetterId(1, 0)
    with desk.office() as office:
        repair = patch_repair("[]")
        assert list(office.replay(Selection(ids=(letter,)), repair=repair, apply=True)) == [
            Outcome(letter, True, "replayed as 1:1")
        ]
    desk.consume()
    assert desk.rows() == (1, 1)


def test_a_letter_is_fixed_under_a_schema_that_refers_to_others(desk: Desk) -> None:
    """As the subject's latest it is what every fix writes with."""
    desk.lane.produce([desk.lane.good(1)[0] + b"trailing"], partition=1)
    desk.consume()
    letter, topic = LetterId(1, 0), desk.lane.topic
    kind: dict[str, Any] = {"type": "enum", "name": f"{topic.replace('-', '_')}.Kind", "symbols": ["phone"]}
    more = {"name": "kind", "type": ["null", kind["name"]], "default": None}
    register(desk.registry, f"{topic}-kind", json.dumps(kind))
    text = json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], more]})
    register(desk.registry, f"{topic}-value", text, [(kind["name"], f"{topic}-kind")])
    patch = patch_repair('[{"op": "add", "path": "/kind", "value": "phone"}]')
    with desk.office() as office:
        assert refused(list(office.replay(Selection(ids=(letter,)), repair=patch, apply=True))) == {}
    desk.consume()
    assert desk.rows() == (1, 1)


def test_replayed_twice_it_is_still_one_event(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    with desk.office() as office:
        list(office.replay(Selection(), repair=knowing(sent), apply=True))
        once_more = refused(list(office.replay(Selection(), repair=knowing(sent), apply=True)))
        assert set(once_more.values()) == {"was replayed before; --again replays it once more"}
        assert not refused(list(office.replay(Selection(), repair=knowing(sent), again=True, apply=True)))
    desk.consume()
    assert desk.rows() == (2 * len(sent), len(sent))
    ((states,),) = desk.query("SELECT count(*) FROM dead_letter_states WHERE topic = %s", desk.lane.topic)
    assert states == len(sent)


def test_replayed_again_with_a_time_in_another_minute_it_would_be_two_events(desk: Desk) -> None:
    desk.lane.produce([None], partition=1)
    desk.consume()
    chosen = Selection(ids=(LetterId(1, 0),))
    minute = MinuteWindow.containing(datetime.now(UTC)).start - 10 * MINUTE

    def at(instant: datetime) -> Repair:
        repaired = plain(a_user_event(7, at=to_milliseconds(instant)))
        return lambda _fields, _letter: repaired

    with desk.office() as office:

        def again(instant: datetime, **options: bool) -> list[Outcome]:
            return list(office.replay(chosen, repair=at(instant), again=True, apply=True, **options))

        assert not refused(again(minute))  # its first replay has no earlier one to differ from
        assert not refused(again(minute + MINUTE - MILLISECOND))
        for other in (minute - MILLISECOND, minute + MINUTE):
            (why,) = refused(again(other)).values()
            assert f"was replayed into minute {MinuteWindow(minute)}, and would count again in " in why
        assert len(desk.records()) == 3
        assert not refused(again(minute + MINUTE, force=True))


def test_a_discarded_letter_is_never_replayed_until_that_is_undone(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    letter = LetterId(PARTITION_OF_LETTERS, 0)
    chosen = Selection(ids=(letter,))
    with desk.office("etar dead-letters discard 2:0") as office:
        assert list(office.discard(chosen, "a test of theirs", undo=False, apply=True)) == [
            Outcome(letter, True, "discarded")
        ]
        assert refused(list(office.discard(chosen, "again", undo=False, apply=True)))
        assert letter not in open_ids(office)
        assert "is discarded" in refused(list(office.replay(chosen, repair=knowing(sent), apply=True)))[letter]
        assert "is discarded" in refused(list(office.fix(chosen, knowing(sent), schema_id=None, apply=True)))[letter]
        ((state, changed_at),) = desk.query(
            "SELECT state, changed_at FROM dead_letter_states WHERE topic = %s", desk.lane.topic
        )
        assert list(office.discard(chosen, "it was ours", undo=True, apply=True)) == [Outcome(letter, True, "restored")]
        assert letter in open_ids(office)
        changes = office.show(letter).changes
    assert (state, changed_at) == ("discarded", changes[0].changed_at)
    assert [(change.action, dict(change.detail)) for change in changes] == [
        ("discarded", {"reason": "a test of theirs"}),
        ("restored", {"reason": "it was ours"}),
    ]
    assert {change.command for change in changes} == {"etar dead-letters discard 2:0"}
    assert all(change.changed_by for change in changes)


def test_a_hook_repairs_and_leaves_alone(desk: Desk) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()

    def hook(fields: Fields, letter: DeadLetter) -> Fields | None:
        return plain(sent[LetterId.of(letter)][1]) if letter.reason is Reason.TRUNCATED else None

    with desk.office() as office:
        outcomes = list(office.replay(Selection(), repair=hook, apply=True))
    desk.consume()
    assert [outcome.what for outcome in outcomes].count("left alone by the hook") == len(sent) - 1
    assert desk.rows() == (1, 1)


def test_an_export_holds_every_letter_whole(desk: Desk, tmp_path: Path) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()
    file = tmp_path / "letters.jsonl"
    with desk.office() as office:
        assert office.export(Selection(), file) == len(sent)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    values = {
        LetterId(line["partition"], line["offset"]): None if line["value"] is None else base64.b64decode(line["value"])
        for line in lines
    }
    messages = {LetterId(message.partition(), message.offset()): message.value() for message in desk.records()}
    assert values == messages
    assert {line["reason"] for line in lines} == {reason.value for reason in REASONS.values()}
    assert all(base64.b64decode(line["key"]) == b"k" * 16 for line in lines)
    assert [path.name for path in tmp_path.glob("*letters*")] == [file.name]


def test_after_a_full_replay_it_is_as_if_nothing_had_ever_been_bad(desk: Desk) -> None:
    good = desk.lane.good(300, first=1000)
    desk.lane.produce(good)
    behind = len([None for number in range(300) if number % 6 == PARTITION_OF_LETTERS])
    sent = {
        LetterId(letter.partition, letter.offset + behind): what for letter, what in desk.one_of_each_kind().items()
    }
    desk.consume()
    assert desk.rows() == (300, 300)
    with desk.office() as office:
        assert not refused(list(office.replay(Selection(), repair=knowing(sent), apply=True)))
        assert open_ids(office) == []
        counts = office.count(Selection())
    desk.consume()
    assert desk.rows() == (300 + len(sent), 300 + len(sent))
    assert {state for _, state in counts} == {State.REPLAYED}
    assert sum(counts.values()) == len(sent)
    desk.lane.assert_every_offset_is_in_one_place()
