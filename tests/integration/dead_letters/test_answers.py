"""The report API on dead letters: listed, counted and shown in full, on the warehouse's own engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etar.dead_letter_office import answers
from etar.dead_letter_office.office import open_office
from etar.dead_letters import Reason
from etar.dead_letters.answer import LetterCounts, ListedLetter, WholeLetter
from etar.dead_letters.fields import failing_field
from etar.dead_letters.letters import LetterId, Selection, State
from etar.settings import get_settings
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import milliseconds, new_world  # noqa: F401  (a fixture)
from tests.integration.conftest import accounted, new_accounted, settings_of_stack  # noqa: F401  (fixtures)
from tests.integration.dashboard.serving import RunningApi, serving
from tests.ports import free_ports
from tests.unit.records.events import encode, event

RANGE = {"from": "2026-01-01T00:00Z", "to": "2026-01-02T00:00Z"}


@pytest.fixture
def api(accounted: AccountedWorld, tmp_path: Path) -> Iterator[RunningApi]:  # noqa: F811
    with serving(accounted.store, tmp_path / "api.log") as api:
        yield api


def bad_user(world: AccountedWorld, number: int, user: str = "<b>x</b>") -> bytes:
    """A record that is bad for its user alone."""
    return encode(event(number, event_time=milliseconds(world.minute.start), user_id=user), schema_id=world.schema_id)


def with_letters(world: AccountedWorld) -> None:
    """In partition 1, two bad users, a record cut off and one without a value, in the order of their times."""
    values = [bad_user(world, 0), bad_user(world, 1), world.good(1, first=2)[0][:-3], None]
    for number, value in enumerate(values):
        world.send([value], at=world.minute.start + timedelta(seconds=number), partition=1)
    world.sink()


def listed(api: RunningApi, world: AccountedWorld, **asked: Any) -> list[ListedLetter]:
    answer = api.reader.get("/v1/dead-letters", params={"stream": world.stream.name, **asked})
    assert answer.status_code == 200, answer.text
    return [ListedLetter.model_validate(each) for each in answer.json()]


def offsets(letters: list[ListedLetter]) -> list[int]:
    return [letter.offset for letter in letters]


def of_minute(world: AccountedWorld) -> dict[str, str]:
    return {"from": str(world.minute), "to": str(world.minute.next)}


def test_letters_are_listed_newest_first_and_narrowed(api: RunningApi, accounted: AccountedWorld) -> None:  # noqa: F811
    with_letters(accounted)
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        list(office.discard(Selection(ids=(LetterId(1, 3),)), "an empty one", undo=False, apply=True))

    assert offsets(listed(api, accounted)) == [3, 2, 1, 0]
    assert offsets(listed(api, accounted, reason="truncated")) == [2]
    assert offsets(listed(api, accounted, reason=["truncated", "null_value"])) == [3, 2]
    assert offsets(listed(api, accounted, field="user_id")) == [1, 0]
    assert offsets(listed(api, accounted, field="user_i")) == []
    assert offsets(listed(api, accounted, state="discarded")) == [3]
    assert offsets(listed(api, accounted, state="open", limit=2)) == [2, 1]
    assert offsets(listed(api, accounted, **of_minute(accounted))) == [3, 2, 1, 0]
    second = (accounted.minute.start + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert offsets(listed(api, accounted, **{"from": second})) == [3, 2, 1], "from is of the range"
    assert offsets(listed(api, accounted, to=second)) == [0], "to is not"


@pytest.mark.parametrize("narrowed", [{}, {"state": "open"}])
def test_pages_have_each_letter_once(
    api: RunningApi,
    accounted: AccountedWorld,  # noqa: F811
    narrowed: dict[str, str],
) -> None:
    accounted.send([None] * 5, partition=1)
    accounted.sink()

    seen: list[int] = []
    url = str(api.reader.build_request("GET", "/v1/dead-letters", params={"stream": accounted.stream.name}).url)
    url += "&limit=2" + "".join(f"&{name}={value}" for name, value in narrowed.items())
    pages = 0
    while url:
        answer = api.reader.get(url).raise_for_status()
        seen += [each["offset"] for each in answer.json()]
        url = "/v1/dead-letters" + answer.links["next"]["url"] if "next" in answer.links else ""
        pages += 1
    assert (seen, pages) == ([4, 3, 2, 1, 0], 3)


def test_a_search_by_state_has_an_end_and_goes_on_behind_it(
    accounted: AccountedWorld,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "_AT_ONCE", 2)
    monkeypatch.setattr(answers, "LOOKED_THROUGH", 4)
    accounted.send([None] * 5, partition=1)
    accounted.sink()
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        list(office.discard(Selection(ids=(LetterId(1, 0),)), "the oldest", undo=False, apply=True))
    discarded = Selection(states=frozenset({State.DISCARDED}))

    found, place = answers.listed(accounted.stream, discarded, field=None, before=None, most=10)
    assert (found, place and place.offset) == ([], 1)
    found, place = answers.listed(accounted.stream, discarded, field=None, before=place, most=10)
    assert (offsets(found), place) == ([0], None)


def test_letters_are_counted_by_reason_over_time(api: RunningApi, accounted: AccountedWorld) -> None:  # noqa: F811
    with_letters(accounted)
    asked = {"stream": accounted.stream.name, "per": "minute", **of_minute(accounted)}

    all_of_them = api.reader.get("/v1/dead-letters/counts", params=asked)
    one_field = api.reader.get("/v1/dead-letters/counts", params={**asked, "field": "user_id"})

    found = LetterCounts.model_validate_json(all_of_them.content)
    (bucket,) = found.buckets
    assert bucket.start == accounted.minute.start
    assert bucket.reasons == {Reason.MISSING_OR_WRONG_FIELD: 2, Reason.TRUNCATED: 1, Reason.NULL_VALUE: 1}
    assert (found.total, found.fields) == (4, {"user_id": 2})
    assert LetterCounts.model_validate_json(one_field.content).total == 2
    assert {failing_field(each.reason, each.detail) or "" for each in listed(api, accounted)} == {"user_id", ""}


def test_one_letter_is_shown_as_text_with_the_failing_field_marked(
    api: RunningApi,
    accounted: AccountedWorld,  # noqa: F811
) -> None:
    with_letters(accounted)

    def one(offset: int) -> WholeLetter:
        answer = api.reader.get(f"/v1/dead-letters/1/{offset}", params={"stream": accounted.stream.name})
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json"
        return WholeLetter.model_validate_json(answer.content)

    wrong, cut, nothing = one(0), one(2), one(3)
    (failing,) = [leaf for leaf in wrong.leaves if leaf.failing]
    assert (failing.path, json.loads(failing.value or "")) == ("user_id", "<b>x</b>")
    assert (wrong.field, wrong.pointer, wrong.there, wrong.state) == ("user_id", "/user_id", True, State.OPEN)
    assert wrong.headers == ()
    assert wrong.value
    assert wrong.value.lines[0].startswith("00000000  00 00 00 00")
    assert cut.field == next(leaf.path for leaf in cut.leaves if leaf.failing)
    assert (cut.form, cut.there) == ("Avro, in part", False)
    assert (nothing.value, nothing.leaves) == (None, ())


def test_what_came_of_a_letter_is_told(api: RunningApi, accounted: AccountedWorld) -> None:  # noqa: F811
    accounted.send(accounted.good(1), partition=1)
    with_letters(accounted)
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        (outcome,) = office.replay(Selection(ids=(LetterId(1, 1),)), force=True, apply=True)
    assert outcome.done, outcome

    answer = api.reader.get("/v1/dead-letters/1/1", params={"stream": accounted.stream.name})

    found = WholeLetter.model_validate_json(answer.content)
    (sent,) = found.replays
    assert (found.state, sent.partition, sent.offset) == (State.REPLAYED, 1, 5)
    assert [(change.action, change.command) for change in found.changes] == [("replayed", "a test")]


def test_what_is_asked_wrongly_is_refused(api: RunningApi, accounted: AccountedWorld) -> None:  # noqa: F811
    def status(path: str, **asked: Any) -> int:
        return api.reader.get(f"/v1/dead-letters{path}", params={"stream": accounted.stream.name, **asked}).status_code

    refused: list[dict[str, Any]] = [
        {"state": "unfiled"},
        {"reason": "bad"},
        {"before": "noon"},
        {"limit": 501},
        {"field": ""},
    ]
    assert [status("", **asked) for asked in refused] == [422] * len(refused)
    assert status("/counts") == 422
    assert status("/counts", per="minute", **{"from": "2026-01-01T00:00Z", "to": "2026-01-03T00:00Z"}) == 422
    assert status("/1/99") == 404
    assert status("", stream="nobodys") == 404
    assert api.stranger.get("/v1/dead-letters").status_code == 401
    assert api.writer.get("/v1/dead-letters").status_code == 403
    # Instants that the engine has no number for.
    assert status("", **{"from": "0001-01-01T00:00Z", "to": "9999-01-01T00:00Z"}) == 200


def test_without_the_warehouse_the_answer_is_that_it_is_away(
    accounted: AccountedWorld,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ETAR_WAREHOUSE_PORT", str(free_ports(1)[0]))
    get_settings.cache_clear()
    with serving(accounted.store, tmp_path / "api.log") as api:
        for path in ("", "/counts", "/1/0"):
            answer = api.reader.get(f"/v1/dead-letters{path}", params={"stream": accounted.stream.name, **RANGE})
            assert answer.status_code == 503, (path, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "warehouse" in answer.json()["detail"]


def test_a_letter_is_shown_without_the_registry_as_bytes(
    accounted: AccountedWorld,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_letters(accounted)
    monkeypatch.setenv("ETAR_REGISTRY_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    get_settings.cache_clear()

    found = answers.whole(accounted.stream, LetterId(1, 0))

    assert (found.form, found.field, found.there) == ("bytes", "user_id", False)
    assert found.fault
    assert found.fault.startswith("its schema is not to be had")


def test_the_reader_of_letters_cannot_write(accounted: AccountedWorld) -> None:  # noqa: F811
    import psycopg

    with_letters(accounted)
    with (
        open_office(accounted.stream, command="a test", say=lambda _: None, reading=True) as office,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        list(office.discard(Selection(ids=(LetterId(1, 0),)), "no", undo=False, apply=True))
