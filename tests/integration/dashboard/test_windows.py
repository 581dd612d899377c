"""Live windows of a stream as the API serves them: the newest, by group, what the job said beside what holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from etar.windows import StreamWindows, newest
from tests.integration.dashboard.serving import RunningApi, serving
from tests.live_windows import declared, define_rides, keep, make_table, many, row
from tests.unit.dashboard.samples import MINUTE, minutes_after


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def api(report_store: ReportStoreSettings, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ETAR_STREAMS_FOLDERS", f"streams:{folder}")
        with serving(report_store, tmp_path_factory.mktemp("api") / "api.log") as running:
            yield running


@pytest.fixture
def rides(folder: Path, report_store: ReportStoreSettings) -> str:
    """A stream with an empty table of its own of the same name."""
    name = f"rides_{uuid4().hex[:12]}"
    define_rides(folder, name, name)
    make_table(report_store, name)
    return name


def read(api: RunningApi, stream: str, **asked: str | int) -> StreamWindows:
    answer = api.reader.get("/windows", params={"stream": stream, **asked})
    assert answer.status_code == 200, answer.text
    return StreamWindows.model_validate_json(answer.content)


def test_a_window_has_what_holds_and_what_the_job_said(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    keep(
        report_store,
        rides,
        row(MINUTE, "Oslo", "20.30", 3, streamed=("10.10", 1), revision=2),
        row(MINUTE, "Bodø", "0.00", 0, revision=2),
        row(MINUTE.next, "Oslo", "12345678901234.56", 1),
    )

    answer = api.reader.get("/windows", params={"stream": rides})

    assert answer.json() == {
        "stream": rides,
        "title": "Rides by city",
        "by": "city",
        "groups": ["Oslo", "Bergen", "Bodø"],
        "values": [
            {"column": "total", "title": "Takings", "form": "decimal"},
            {"column": "rides", "title": "Rides", "form": "number"},
        ],
        "windows": [
            {
                "start": "2025-11-21T10:31:00Z",
                "end": "2025-11-21T10:32:00Z",
                "final": True,
                "revision": 2,
                "updated_at": "2025-11-21T10:32:00Z",
                "groups": {
                    "Bodø": {
                        "final": True,
                        "revision": 2,
                        "values": {"total": compared("0.00", "0.00", "0.00"), "rides": compared(0, 0, 0)},
                    },
                    "Oslo": {
                        "final": True,
                        "revision": 2,
                        "values": {"total": compared("20.30", "10.10", "10.20"), "rides": compared(3, 1, 2)},
                    },
                },
                "totals": {"total": compared("20.30", "10.10", "10.20"), "rides": compared(3, 1, 2)},
            },
            {
                "start": "2025-11-21T10:32:00Z",
                "end": "2025-11-21T10:33:00Z",
                "final": False,
                "revision": None,
                "updated_at": "2025-11-21T10:33:00Z",
                "groups": {
                    "Oslo": {
                        "final": False,
                        "revision": None,
                        "values": {
                            "total": compared("12345678901234.56", "12345678901234.56", "0.00"),
                            "rides": compared(1, 1, 0),
                        },
                    },
                },
                "totals": {
                    "total": compared("12345678901234.56", "12345678901234.56", "0.00"),
                    "rides": compared(1, 1, 0),
                },
            },
        ],
    }
    # Read as a program reads it, nothing is rounded, and no count becomes an amount.
    again = StreamWindows.model_validate_json(answer.content)
    assert json.loads(again.model_dump_json()) == answer.json()


def compared(now: str | int, streamed: str | int, difference: str | int) -> dict[str, str | int]:
    return {"now": now, "streamed": streamed, "difference": difference}


def test_a_window_is_final_when_every_group_of_it_is(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    keep(report_store, rides, row(MINUTE, "Oslo", "1.00", 1, revision=1), row(MINUTE, "Bergen", "1.00", 1))

    (window,) = read(api, rides).windows
    assert (window.final, window.revision) == (False, None)


def test_the_newest_windows_of_the_range_and_of_one_group(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    for after in range(5):
        keep(report_store, rides, row(minutes_after(after), "Oslo", "1.00", after))
    keep(report_store, rides, row(minutes_after(1), "Bergen", "9.00", 9), row(minutes_after(3), "Bergen", "9.00", 9))

    def starts(**asked: str | int) -> list[int]:
        return [(w.start - MINUTE.start) // timedelta(minutes=1) for w in read(api, rides, **asked).windows]

    assert starts() == [0, 1, 2, 3, 4]
    assert starts(limit=2) == [3, 4]
    # A window that begins at the first instant is in, one that begins at the last is not.
    assert starts(**{"from": str(minutes_after(1)), "to": str(minutes_after(4))}) == [1, 2, 3]
    assert starts(limit=1, to=str(minutes_after(4))) == [3]
    assert starts(group="Bergen") == [1, 3]
    assert starts(group="Bergen", limit=1) == [3]
    assert [{*window.groups} for window in read(api, rides, group="Bergen").windows] == [{"Bergen"}, {"Bergen"}]
    assert starts(group="'; DROP TABLE reports; --") == []
    refused = api.reader.get("/windows", params={"stream": rides, "from": str(MINUTE), "to": str(MINUTE)})
    assert refused.status_code == 422


def test_an_answer_that_a_client_has_is_not_sent_again(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    empty = api.reader.get("/windows", params={"stream": rides})
    assert empty.json()["windows"] == []
    known = {"If-None-Match": empty.headers["ETag"]}
    assert api.reader.get("/windows", params={"stream": rides}, headers=known).status_code == 304

    keep(report_store, rides, row(MINUTE, "Oslo", "1.00", 1))
    assert api.reader.get("/windows", params={"stream": rides}, headers=known).status_code == 200


def test_who_has_no_windows_and_whose_table_is_not_there(api: RunningApi, folder: Path, stream: str) -> None:
    assert api.reader.get("/windows").status_code == 404
    assert api.reader.get("/windows", params={"stream": "nobody's"}).status_code == 404
    assert api.stranger.get("/windows").status_code == 401
    assert api.writer.get("/windows").status_code == 403

    define_rides(folder, stream, f"{stream}_rides")
    answer = api.reader.get("/windows", params={"stream": stream})
    assert answer.status_code == 503
    assert f'relation "{stream}_rides" does not exist' in answer.json()["detail"]
    assert "etar bootstrap" in answer.json()["detail"]
    listed = {each["name"]: each["windows"] for each in api.reader.get("/streams").json()}
    assert (listed[stream], listed["user_interactions"]) == ("Rides by city", None)


def test_the_table_is_only_read(api: RunningApi, folder: Path, stream: str, report_store: ReportStoreSettings) -> None:
    """Whatever stands behind its name: a view that writes when it is asked, say."""
    define_rides(folder, stream, stream)
    make_table(report_store, f"{stream}_rows")
    with report_store_connection(report_store) as connection:
        connection.execute(
            f"CREATE FUNCTION {stream}_written() RETURNS boolean LANGUAGE sql AS "
            f"$$ DELETE FROM {stream}_rows; SELECT true $$; "
            f"CREATE VIEW {stream} AS SELECT * FROM {stream}_rows WHERE {stream}_written()".encode()
        )
    keep(report_store, f"{stream}_rows", row(MINUTE, "Oslo", "1.00", 1))

    assert api.reader.get("/windows", params={"stream": stream}).status_code == 503
    with report_store_connection(report_store) as connection:
        assert connection.execute(f"SELECT count(*) FROM {stream}_rows".encode()).fetchall() == [(1,)]


@pytest.mark.parametrize("of_group", [False, True])
def test_the_newest_windows_are_found_by_the_index(report_store: ReportStoreSettings, of_group: bool) -> None:
    table = f"rides_{uuid4().hex[:12]}"
    make_table(report_store, table)
    many(report_store, table, windows=20_000, until=MINUTE, cities=("Oslo", "Bergen", "Tromsø"))
    asked = {"start": None, "end": None, "limit": 100, "group": "Oslo"}

    with report_store_connection(report_store) as connection:
        statement = newest(declared(table), of_group=of_group)
        ((plan,),) = connection.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.as_bytes(connection), asked
        ).fetchall()

    nodes = list(nodes_of(plan[0]["Plan"]))
    scans = [node for node in nodes if "Relation Name" in node]
    assert len(scans) == 2
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert {node["Index Name"] for node in scans} == {f"{table}_pkey"}
    # What is looked at is what is answered, however long the table is.
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 2 * 100 * 3 + 3
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes_of(each)


def test_windows_of_minutes_that_nobody_has_are_not_made_up(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    keep(report_store, rides, row(MINUTE, "Oslo", "1.00", 1), row(minutes_after(7), "Oslo", "1.00", 1))

    assert [MinuteWindow(window.start) for window in read(api, rides).windows] == [MINUTE, minutes_after(7)]
