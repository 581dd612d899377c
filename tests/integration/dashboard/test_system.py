"""Metrics and alerts as the API serves them: its own numbers, what jobs last told, and what was found by who looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.status import alert_lines, alerts_of
from etar.alerts.numbers import Sample
from etar.alerts.silences import silence
from etar.clients import report_store_connection
from etar.job_progress import keep
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from stack.configuration import Settings
from stack.lifecycle import PartStatus, StackStatus
from stack.parts import Stack, parts_of
from tests.alert_looks import a_silence, looked
from tests.alert_looks import grow_old as look_grows_old
from tests.integration.dashboard.serving import RunningApi, serving
from tests.live_windows import define_rides
from tests.ports import free_ports

JOB = '\n[[jobs]]\nname = "sums"\nkind = "spark-streaming"\napp = "app.py"\n'
PROGRESS: dict[str, Any] = {
    "at": "2026-11-30T08:00:00.000Z",
    "batch": 41,
    "input_rows": 500,
    "input_rows_per_second": 1000.0,
    "processed_rows_per_second": 1600.5,
    "duration_ms": {"triggerExecution": 312, "addBatch": 250},
    "watermark": "2026-11-30T07:58:00.000Z",
    "state_rows": 1234,
    "state_bytes": 56789,
    "behind": 7,
}


@pytest.fixture
def rides(tmp_path: Path) -> str:
    """A stream that is on, with a job."""
    name = f"rides_{uuid4().hex[:12]}"
    define_rides(tmp_path / "streams", name, name)
    definition = tmp_path / "streams" / name / "stream.toml"
    definition.write_text(definition.read_text().replace("[event]", "autostart = true\n[event]") + JOB)
    return name


@pytest.fixture
def api(report_store: ReportStoreSettings, tmp_path: Path, rides: str) -> Iterator[RunningApi]:
    """A report API of the test's own, whose counts begin at none."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ETAR_STREAMS_FOLDERS", str(tmp_path / "streams"))
        with serving(report_store, tmp_path / "api.log") as running:
            yield running


def tell(store: ReportStoreSettings, stream: str, **changed: object) -> None:
    with report_store_connection(store) as connection:
        keep(connection, f"{stream}/sums", PROGRESS | changed)


def grow_old(store: ReportStoreSettings, stream: str) -> None:
    with report_store_connection(store) as connection:
        connection.execute(
            "UPDATE stream_job_progress SET at = at - interval '61 seconds' WHERE job = %s", (f"{stream}/sums",)
        )


def numbers(api: RunningApi, path: str) -> dict[str, dict[tuple[str, ...], float]]:
    """By metric, the values by their labels' values, in the order of the labels' names."""
    answer = api.reader.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_the_api_counts_its_answers_by_route_and_its_queries(api: RunningApi) -> None:
    for path in ("/streams", "/streams", "/minutes/2020-01-01T00:00Z", "/nowhere/that/is", "/report?minute=x"):
        api.reader.get(path)
    api.stranger.get("/streams")

    found = numbers(api, "/metrics")

    requests = found["etar_api_requests_total"]
    assert requests["GET", "/streams", "200"] == 2
    assert requests["GET", "/streams", "401"] == 1
    assert requests["GET", "/minutes/{minute}", "404"] == 1
    assert requests["GET", "/report", "422"] == 1
    assert requests["GET", "none", "404"] == 1
    assert not [labels for labels in requests if "nowhere" in labels[1]]
    assert found["etar_api_query_seconds_count"][()] >= 3
    assert found["etar_api_slowest_query_seconds"][()] > 0
    assert found["etar_api_error_ratio"][()] == 0
    assert found["etar_api_pool_max_connections"][()] == 8
    assert found["etar_api_pool_used_ratio"][()] == 0
    assert api.stranger.get("/metrics").status_code == 401


def test_a_job_has_the_numbers_that_it_told(api: RunningApi, rides: str, report_store: ReportStoreSettings) -> None:
    tell(report_store, rides)

    found = numbers(api, f"/metrics/{rides}/sums")

    labels = ("sums", rides)
    assert found.pop("etar_job_progress_age_seconds")[labels] < 60
    assert found == {
        "etar_job_up": {labels: 1},
        "etar_job_lag_records": {labels: 7},
        "etar_job_input_rows_per_second": {labels: 1000.0},
        "etar_job_processed_rows_per_second": {labels: 1600.5},
        "etar_job_batch_seconds": {labels: 0.312},
        "etar_job_state_rows": {labels: 1234},
        "etar_job_state_bytes": {labels: 56789},
        "etar_job_batch": {labels: 41},
    }
    assert api.reader.get(f"/metrics/{rides}/other").status_code == 404
    assert api.reader.get("/metrics/nobody/sums").status_code == 404


def test_a_job_that_tells_nothing_is_down_and_its_old_numbers_are_not_told(
    api: RunningApi, rides: str, report_store: ReportStoreSettings
) -> None:
    assert numbers(api, f"/metrics/{rides}/sums") == {"etar_job_up": {("sums", rides): 0}}
    tell(report_store, rides)
    grow_old(report_store, rides)
    assert set(numbers(api, f"/metrics/{rides}/sums")) == {"etar_job_up", "etar_job_progress_age_seconds"}


def test_what_is_no_progress_is_none(api: RunningApi, rides: str, report_store: ReportStoreSettings) -> None:
    tell(report_store, rides, batch="soon")
    assert numbers(api, f"/metrics/{rides}/sums") == {"etar_job_up": {("sums", rides): 0}}


@pytest.fixture
def own_api(empty_store: ReportStoreSettings, tmp_path: Path) -> Iterator[RunningApi]:
    """A report API on a store whose alerts nobody else looks at."""
    with serving(empty_store, tmp_path / "api.log") as running:
        yield running


MISSING = Sample("etar_minutes_missing", {"stream": "rides"}, 3)
LAG = Sample("etar_sink_lag_records", {"stream": "rides"}, 17)


def test_the_alerts_stand_as_the_part_that_looks_has_found(
    own_api: RunningApi, empty_store: ReportStoreSettings
) -> None:
    system = own_api.reader.get("/system").json()
    assert system["alerts"] == []
    assert "nobody has looked at the alerts yet" in system["problem"]

    looked(empty_store, [Stream("rides")], MISSING, LAG, problems=["Kafka is somewhere else"])
    with report_store_connection(empty_store) as connection:
        silence(connection, a_silence("MinutesMissing"))

    system = own_api.reader.get("/system").json()
    first = system["alerts"][0]
    assert (first["alert"], first["state"], first["labels"]) == ("MinutesMissing", "firing", {"stream": "rides"})
    assert first["summary"] == "No run has taken 3 minutes of rides that are over"
    assert first["silence"]["why"] == "known"
    assert datetime.fromisoformat(first["told_at"]) > datetime.fromisoformat(first["since"])
    states = {each["alert"]: each["state"] for each in system["alerts"]}
    assert (states["KafkaAway"], states["ReportStoreAway"]) == ("no data", "well")
    assert (system["problem"], system["problems"], system["targets"]) == (None, ["Kafka is somewhere else"], ["team"])
    told = {each["name"]: each["value"] for each in system["numbers"]}
    assert (told["etar_minutes_missing"], told["etar_sink_lag_records"], told["etar_api_error_ratio"]) == (3, 17, 0)


def test_prometheus_gets_the_numbers_of_the_look_and_none_of_an_old_one(
    own_api: RunningApi, empty_store: ReportStoreSettings
) -> None:
    assert numbers(own_api, "/metrics")["etar_alerts_up"] == {(): 0}
    looked(empty_store, [Stream("rides")], MISSING, LAG, Sample("etar_api_error_ratio", {}, 0.5))
    found = numbers(own_api, "/metrics")
    assert (found["etar_minutes_missing"], found["etar_sink_lag_records"]) == ({("rides",): 3}, {("rides",): 17})
    # What the API says of itself is of now.
    assert found["etar_api_error_ratio"] == {(): 0}
    assert (found["etar_alerts_up"], found["etar_report_store_up"]) == ({(): 1}, {(): 1})

    look_grows_old(empty_store, 61)
    found = numbers(own_api, "/metrics")
    assert found["etar_alerts_up"] == {(): 0}
    assert "etar_minutes_missing" not in found
    system = own_api.reader.get("/system").json()
    assert "nobody has looked at the alerts for 6" in system["problem"]
    assert system["alerts"][0]["alert"] == "MinutesMissing"
    assert not [each for each in system["numbers"] if each["name"] == "etar_minutes_missing"]


def test_while_the_store_is_away_the_api_tells_of_itself_and_nothing_of_alerts(
    report_store: ReportStoreSettings, tmp_path: Path
) -> None:
    away = report_store.model_copy(update={"port": free_ports(1)[0]})
    with serving(away, tmp_path / "away.log") as api:
        assert api.reader.get("/streams").status_code == 503

        system = api.reader.get("/system").json()

        assert "the report store does not say how the alerts stand" in system["problem"]
        assert system["alerts"] == []
        assert {each["name"] for each in system["numbers"]} >= {"etar_api_error_ratio"}
        found = numbers(api, "/metrics")
        assert found["etar_api_requests_total"]["GET", "/streams", "503"] == 1
        assert found["etar_report_store_up"] == {(): 0}
        assert "etar_alerts_up" not in found
        assert api.reader.get("/metrics/rides/sums").status_code == 503


def test_the_status_says_which_alerts_fire_and_never_that_all_is_well_unasked(
    empty_store: ReportStoreSettings, parts_stack: Stack
) -> None:
    def status(state: str) -> StackStatus:
        return StackStatus(True, [PartStatus(part.name, state, None, None, 0.0) for part in parts_of(parts_stack)])

    def said(state: str = "healthy", **changed: str) -> list[str]:
        own = {
            "ETAR_REPORT_STORE_DATABASE": empty_store.database,
            "ETAR_REPORT_STORE_USER": empty_store.user,
            "ETAR_REPORT_STORE_PASSWORD": empty_store.password.get_secret_value(),
        }
        stack = Stack(parts_stack.layout, Settings({**parts_stack.settings.values, **own, **changed}))
        return list(alert_lines(alerts_of(stack, status(state))))

    assert said("unready") == ["alerts: not known: postgres does not run"]
    (line,) = said(ETAR_REPORT_STORE_PORT=str(free_ports(1)[0]))
    assert line.startswith("alerts: not known: the report store does not say: ")
    (line,) = said()
    assert "nobody has looked at the alerts yet" in line
    looked(empty_store, [Stream("rides")], MISSING)
    first, second = said()
    assert first.startswith("alert: firing: MinutesMissing of rides: No run has taken 3 minutes of rides that are over")
    assert second.startswith("alerts without data: ")
    assert "KafkaAway" in second
