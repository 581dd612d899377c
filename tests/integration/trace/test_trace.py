"""Where an event is, asked of real places: each thing that can have become of it, and places that are away."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from etar.dead_letter_office.office import open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters.letters import LetterId, Selection
from etar.settings import ReportReadSettings, get_settings
from etar.trace.answer import Place, RecordTrace, Standing, StepName, StepState, Trace
from etar.trace.question import Question
from etar.trace.tracer import trace
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import milliseconds
from tests.ports import free_ports
from tests.unit.records.events import encode, event


def id_of(number: int) -> str:
    return str(event(number)["event_id"])


def traced(world: AccountedWorld, *values: str) -> Trace:
    """As someone would ask who comes three minutes after the events."""
    question = Question.of(world.stream, values, now=world.later, ahead=timedelta(minutes=5))
    return trace(question, stream=world.stream, now=lambda: world.later)


def one(found: Trace) -> RecordTrace:
    (record,) = found.records
    return record


def states(record: RecordTrace) -> dict[StepName, StepState]:
    """Of the last step of each name."""
    return {step.name: step.state for step in record.steps}


def on_time(world: AccountedWorld, count: int, *, first: int = 0) -> list[bytes]:
    """Events of the minute before, which come while it lasts, in partition 0."""
    values = world.good_of(1, count, first=first)
    world.send(values, at=world.earlier(1).start + timedelta(seconds=40), partition=0)
    world.sink()
    return values


def test_a_reported_event(accounted: AccountedWorld) -> None:
    on_time(accounted, 3)
    accounted.report(1)
    accounted.audit()

    found = traced(accounted, id_of(1))

    record = one(found)
    window = accounted.earlier(1)
    assert (found.found, found.complete) == (True, True)
    assert (record.name, record.standing, record.revision) == ("0:1", Standing.COUNTED, 1)
    assert (record.minute, record.late, record.in_object) == (window.start, False, True)
    assert record.object_key == accounted.stream.extract_key(window)
    assert record.appended_at == window.start + timedelta(seconds=40)
    assert record.published_at is not None
    assert set(states(record).values()) == {StepState.DONE}
    assert {place.place for place in found.places if place.asked} == set(Place) - {Place.REGISTRY}
    by_place = traced(accounted, "0:1")
    assert (by_place.record, by_place.records) == ("0:1", found.records)


def test_an_event_that_was_sent_twice_counts_as_the_record_of_the_lowest_partition(accounted: AccountedWorld) -> None:
    (value,) = on_time(accounted, 1)
    accounted.send([value], at=accounted.earlier(1).start + timedelta(seconds=30), partition=2)
    accounted.sink()
    accounted.report(1)

    for asked in (id_of(0), "2:0"):
        first, second = traced(accounted, asked).records
        # The duplicate came first, and is of a higher partition.
        assert (first.name, first.standing, first.counts_as) == ("2:0", Standing.DUPLICATE, "0:0")
        assert (second.name, second.standing, second.counts_as) == ("0:0", Standing.COUNTED, None)
        assert "sent again as 2:0" in second.says


def test_a_late_event_waits_for_the_revision_that_it_makes(accounted: AccountedWorld) -> None:
    on_time(accounted, 2)
    accounted.report(1)
    late = accounted.good_of(1, 1, first=7)
    accounted.send(late, at=accounted.minute.start + timedelta(seconds=20), partition=0)
    accounted.sink()

    before = one(traced(accounted, id_of(7)))
    assert (before.standing, before.late, before.in_object) == (Standing.WAITING, True, False)
    assert before.says.endswith("reported, revision 1, before this row came: the next reconcile makes revision 2")

    accounted.report(1)
    after, first = one(traced(accounted, id_of(7))), one(traced(accounted, id_of(0)))
    assert (after.standing, after.late, after.revision, after.in_object) == (Standing.COUNTED, True, 2, True)
    # Its extract has been written over; the ledger and the table still tell.
    assert (first.standing, first.late, first.revision) == (Standing.COUNTED, False, 1)


def test_a_row_whose_minute_no_run_has_begun(accounted: AccountedWorld) -> None:
    on_time(accounted, 1)

    record = one(traced(accounted, id_of(0)))

    assert record.standing is Standing.WAITING
    assert states(record) | {} == {
        StepName.KAFKA: StepState.DONE,
        StepName.STORED: StepState.DONE,
        StepName.MINUTE: StepState.DONE,
        StepName.AUDIT: StepState.WAITING,
        StepName.EXTRACT: StepState.WAITING,
        StepName.REPORT: StepState.WAITING,
    }
    assert "the next etar_reconcile takes it up" in record.says


def a_letter(world: AccountedWorld, number: int) -> bytes:
    """An event that is bad for its user alone."""
    return encode(
        event(number, event_time=milliseconds(world.minute.start), user_id="nobody"), schema_id=world.schema_id
    )


def test_a_dead_letter_is_found_by_what_it_says_and_by_its_bytes(accounted: AccountedWorld) -> None:
    cut_off = accounted.good(1, first=5)[0][:-3]
    accounted.send([a_letter(accounted, 4), cut_off, a_letter(accounted, 6)], partition=1)
    accounted.sink()
    accounted.audit()

    read, by_bytes = traced(accounted, id_of(4)), traced(accounted, id_of(5).upper())

    record = one(read)
    assert (record.name, record.standing, record.reason) == ("1:0", Standing.DEAD_LETTER, "missing_or_wrong_field")
    assert states(record)[StepName.AUDIT] is StepState.DONE
    assert states(record)[StepName.DEAD_LETTER] is StepState.WAITING
    assert (one(by_bytes).name, one(by_bytes).reason) == ("1:1", "truncated")
    assert one(traced(accounted, "1:1")).says == one(by_bytes).says


def test_a_replayed_letter_leads_to_its_replay_and_back(accounted: AccountedWorld) -> None:
    accounted.send([a_letter(accounted, 4)], partition=1)
    accounted.sink()
    user = event(4)["user_id"]
    repair = patch_repair(json.dumps([{"op": "replace", "path": "/user_id", "value": user}]))
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        (outcome,) = office.replay(Selection(ids=(LetterId(1, 0),)), repair=repair, apply=True)
    assert outcome.done, outcome
    accounted.sink()

    for asked in (id_of(4), "1:0", "1:1"):
        letter, replay = traced(accounted, asked).records
        assert (letter.name, letter.standing, letter.replayed_as) == ("1:0", Standing.REPLAYED, ("1:1",))
        assert (replay.name, replay.replay_of, replay.standing) == ("1:1", "1:0", Standing.WAITING)


def test_a_discarded_letter(accounted: AccountedWorld) -> None:
    accounted.send([None], partition=1)
    accounted.sink()
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        list(office.discard(Selection(ids=(LetterId(1, 0),)), "an empty one", undo=False, apply=True))

    record = one(traced(accounted, "1:0"))

    assert (record.standing, record.reason) == (Standing.DISCARDED, "null_value")
    assert any("an empty one" in step.says for step in record.steps)


def test_a_record_that_the_sink_has_not_come_to(accounted: AccountedWorld) -> None:
    accounted.send(accounted.good(3), partition=1)

    record = one(traced(accounted, "1:2"))

    assert record.standing is Standing.WAITING
    assert states(record)[StepName.STORED] is StepState.WAITING
    assert any("2 records of the partition before it" in step.says for step in record.steps)
    assert "The sink has 3 records of Kafka left to store" in traced(accounted, id_of(2)).says


def test_what_is_nowhere_says_where_it_was_looked_for(accounted: AccountedWorld) -> None:
    on_time(accounted, 1)

    event_of_nobody, record = traced(accounted, id_of(99)), traced(accounted, "0:1")

    assert (event_of_nobody.found, event_of_nobody.complete, event_of_nobody.records) == (False, True, ())
    warehouse = next(each.says for each in event_of_nobody.places if each.place is Place.WAREHOUSE)
    assert f"table {accounted.stream.table}: minutes from " in warehouse
    assert "kept from" in warehouse
    assert (record.found, record.complete) == (False, True)
    assert record.says == "there is no such record yet: the next record of partition 0 gets offset 1"
    assert "partitions 0, 1, 2" in traced(accounted, "9:1").says


AWAY = {
    Place.WAREHOUSE: "ETAR_WAREHOUSE_PORT",
    Place.REPORT_STORE: "ETAR_REPORT_STORE_PORT",
    Place.OBJECT_STORE: "ETAR_S3_ENDPOINT_URL",
    Place.KAFKA: "ETAR_KAFKA_BOOTSTRAP_SERVERS",
}


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Place], None]:
    """Nobody listens where a place should be."""

    def take(place: Place) -> None:
        port = free_ports(1)[0]
        where = {Place.OBJECT_STORE: f"http://127.0.0.1:{port}", Place.KAFKA: f"127.0.0.1:{port}"}
        monkeypatch.setenv(AWAY[place], where.get(place, str(port)))
        get_settings.cache_clear()

    return take


@pytest.mark.parametrize(
    ("place", "standing", "not_asked"),
    [
        (Place.OBJECT_STORE, Standing.COUNTED, {StepName.EXTRACT}),
        (Place.REPORT_STORE, Standing.UNKNOWN, {StepName.AUDIT, StepName.REPORT}),
        (Place.KAFKA, Standing.COUNTED, set()),
    ],
)
def test_a_place_that_is_away_is_said_not_to_be_asked(
    accounted: AccountedWorld,
    take_away: Callable[[Place], None],
    place: Place,
    standing: Standing,
    not_asked: set[StepName],
) -> None:
    on_time(accounted, 1)
    accounted.report(1)
    accounted.audit()
    take_away(place)

    found = traced(accounted, id_of(0))

    record = one(found)
    assert record.standing is standing
    assert {name for name, state in states(record).items() if state is StepState.NOT_ASKED} == not_asked
    (away,) = [each for each in found.places if not each.asked]
    assert (away.place, away.says.startswith("not asked: ")) == (place, True)


def test_without_the_warehouse_nobody_says_that_it_is_not_there(
    accounted: AccountedWorld, take_away: Callable[[Place], None]
) -> None:
    on_time(accounted, 1)
    take_away(Place.WAREHOUSE)

    found, by_place = traced(accounted, id_of(0)), traced(accounted, "0:0")

    assert (found.found, found.complete) == (False, False)
    assert "it may be where nobody was asked" in found.says
    assert one(by_place).standing is Standing.UNKNOWN
    assert states(one(by_place))[StepName.STORED] is StepState.NOT_ASKED
    assert states(one(by_place))[StepName.KAFKA] is StepState.DONE


class TestTheCommand:
    @pytest.fixture
    def etar(self, accounted: AccountedWorld, tmp_path: Path) -> Callable[..., Result]:
        options = ["--stream", accounted.stream.name, "--dir", str(tmp_path / "no-stack")]
        return lambda *arguments: CliRunner().invoke(app, ["trace", *arguments, *options])

    def test_what_is_there_and_what_is_not(self, accounted: AccountedWorld, etar: Callable[..., Result]) -> None:
        on_time(accounted, 1)
        accounted.report(1)

        shown, as_json, nowhere = etar(id_of(0)), etar(id_of(0), "--json"), etar(id_of(1))

        assert shown.exit_code == 0, shown.output
        assert f"{accounted.stream.topic} 0:0: counted" in shown.output
        assert "revision 1 of" in shown.output
        assert Trace.model_validate_json(as_json.stdout).records[0].revision == 1
        assert nowhere.exit_code == 1
        assert "it is in no place that was searched" in nowhere.output

    def test_an_id_of_another_form_is_refused(self, etar: Callable[..., Result]) -> None:
        refused = etar("no uuid")

        assert refused.exit_code == 1
        assert "event_id (UUID)" in refused.stderr

    def test_a_place_that_is_away_has_an_exit_code_of_its_own(
        self, etar: Callable[..., Result], take_away: Callable[[Place], None]
    ) -> None:
        take_away(Place.WAREHOUSE)

        told = etar(id_of(0))

        assert told.exit_code == 3
        assert "not asked: " in told.output


def test_the_api_answers_the_same_as_users_who_may_only_read(accounted: AccountedWorld) -> None:
    on_time(accounted, 1)
    accounted.report(1)
    settings = get_settings(ReportReadSettings)
    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}

    with httpx.Client(base_url=settings.url, headers=headers, timeout=90) as api:
        by_id = api.get("/v1/trace", params={"stream": accounted.stream.name, "id": id_of(0)})
        by_place = api.get("/v1/trace", params={"stream": accounted.stream.name, "record": "0:0"})
        refused = [
            api.get("/v1/trace", params={"stream": accounted.stream.name, **asked})
            for asked in ({"id": "no uuid"}, {"record": "three"}, {}, {"id": id_of(0), "since": "noon"})
        ]
        unknown = api.get("/v1/trace", params={"stream": "nobodys", "id": id_of(0)})

    assert by_id.status_code == 200, by_id.text
    assert Trace.model_validate_json(by_id.content).records == traced(accounted, id_of(0)).records
    assert Trace.model_validate_json(by_place.content).records[0].revision == 1
    assert [answer.status_code for answer in refused] == [422] * 4
    assert unknown.status_code == 404
