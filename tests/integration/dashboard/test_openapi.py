from __future__ import annotations

import json
from typing import Any

import pytest

from etar.account import Account
from etar.ledger import LedgerEntry, MinuteHistory
from etar.pipeline.standing import Day
from etar.report import PublishedReport
from etar.settings import StreamSettings
from etar.stream_code import report_model
from etar.streams import DEFAULT_STREAM, catalogue
from etar.trace.answer import Trace
from etar.windows import StreamWindows
from tests.integration.dashboard.serving import RunningApi
from tests.interactions import Report

STATUSES = {
    ("post", "/report"): {"200", "201", "400", "401", "403", "413", "422", "503", "429"},
    ("get", "/report"): {"200", "304", "401", "403", "404", "422", "503", "429"},
    ("get", "/reports"): {"200", "304", "401", "403", "422", "503", "429"},
    ("get", "/reports/events"): {"200", "401", "403", "422", "503", "429"},
    ("get", "/windows"): {"200", "304", "401", "403", "404", "422", "503", "429"},
    ("get", "/streams"): {"200", "401", "403", "503", "429"},
    ("get", "/minutes"): {"200", "401", "403", "422", "503", "429"},
    ("get", "/minutes/{minute}"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/trace"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/minutes/{minute}/reports"): {"200", "304", "401", "403", "422", "503", "429"},
    ("get", "/account"): {"200", "304", "401", "403", "422", "503", "429"},
    ("get", "/dead-letters"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/dead-letters/counts"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/dead-letters/{partition}/{offset}"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/days/{day}"): {"200", "304", "401", "403", "422", "503", "429"},
    ("get", "/metrics"): {"200", "401", "403", "503", "429"},
    ("get", "/metrics/{stream}/{job}"): {"200", "401", "403", "404", "422", "503", "429"},
    ("get", "/system"): {"200", "401", "403", "503", "429"},
    ("post", "/silences"): {"201", "400", "401", "403", "413", "422", "503", "429"},
    ("delete", "/silences/{alert}"): {"204", "401", "403", "404", "422", "503", "429"},
    ("get", "/operator-actions"): {"200", "401", "403", "422", "503", "429"},
    ("get", "/health"): {"200", "503"},
}
OTHERS = {
    ("post", "/report"): "writer",
    ("post", "/silences"): "operator",
    ("delete", "/silences/{alert}"): "operator",
    ("get", "/operator-actions"): "operator",
}
"""Routes that are not for readers."""
OPERATIONS = sorted(STATUSES)


@pytest.fixture(scope="module")
def openapi(api: RunningApi) -> Any:
    return api.stranger.get("/openapi.json").json()


def test_every_operation_is_described(openapi: Any) -> None:
    assert {(method, path) for path, item in openapi["paths"].items() for method in item} == set(STATUSES)


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "get"])
def test_head_is_what_get_answers_without_its_body(api: RunningApi, path: str) -> None:
    of_a_minute = path.format(minute="2020-01-01T00:00Z", day="2020-01-01", partition=3, offset=4, stream="x", job="y")
    for client in (api.reader, api.stranger):
        with client.stream("GET", of_a_minute) as got:
            head = client.head(of_a_minute)
        assert head.content == b""
        assert head.status_code == got.status_code
        # What counts every answer differs from one to the next.
        ignored = {"date", "content-length"} if path in ("/metrics", "/system") else {"date", "transfer-encoding"}
        assert {k: v for k, v in head.headers.items() if k not in ignored} == {
            k: v for k, v in got.headers.items() if k not in ignored
        }


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_status_has_a_description_and_a_model(openapi: Any, method: str, path: str) -> None:
    operation = openapi["paths"][path][method]

    assert set(operation["responses"]) == STATUSES[method, path]
    assert operation["summary"]
    assert operation["description"]
    for status, response in operation["responses"].items():
        assert response["description"]
        # 204 and 304 have no body.
        assert status in ("204", "304") or next(iter(response["content"].values()))["schema"]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_names_the_token_it_needs(openapi: Any, method: str, path: str) -> None:
    security = openapi["paths"][path][method].get("security")

    if path == "/health":
        assert security is None
    else:
        role = OTHERS.get((method, path), "reader")
        assert security == [{f"{role}Token": []}]
    assert {name: scheme["scheme"] for name, scheme in openapi["components"]["securitySchemes"].items()} == {
        "readerToken": "bearer",
        "operatorToken": "bearer",
        "writerToken": "bearer",
    }


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_parameter_is_described(openapi: Any, method: str, path: str) -> None:
    for parameter in openapi["paths"][path][method].get("parameters", []):
        assert parameter["description"], parameter


def test_the_examples_are_what_they_are_examples_of(openapi: Any) -> None:
    post = openapi["paths"]["/report"]["post"]
    requests = post["requestBody"]["content"]["application/json"]["examples"]
    answers = [post["responses"][status]["content"]["application/json"]["example"] for status in ("200", "201")]
    (listed,) = openapi["paths"]["/reports"]["get"]["responses"]["200"]["content"]["application/json"]["example"]

    for name, stream in catalogue(StreamSettings(streams_folders="streams")).streams.items():
        assert report_model(stream).model_validate(requests[name]["value"]).total_events > 0
    assert Report(**requests[DEFAULT_STREAM]["value"]).total_events == 1000
    for answer in (*answers, listed):
        published = PublishedReport(**answer)
        assert Report.model_validate(published.content).error_rate == answer["error_rate"]


def test_the_examples_of_minutes_are_rows_of_the_ledger(openapi: Any) -> None:
    def example(path: str) -> Any:
        return openapi["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["example"]

    # OpenAPI's own document leaves out what is null.
    (listed,) = example("/minutes")
    entry = LedgerEntry.model_validate({"error": None} | listed)
    assert entry.model_dump(mode="json", exclude_none=True).keys() == listed.keys()
    one = example("/minutes/{minute}")
    assert MinuteHistory.model_validate({"error": None} | one | {"revisions": [entry]}).revisions == (entry,)
    assert one["revisions"] == [listed]


def test_the_example_of_a_day_is_an_answer(openapi: Any) -> None:
    example = openapi["paths"]["/days/{day}"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert Day.model_validate_json(json.dumps(example)).model_dump(mode="json") == example


def test_the_example_of_an_account_is_an_answer(openapi: Any) -> None:
    example = openapi["paths"]["/account"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    found = Account.model_validate(
        example | {"command": None, "partitions": [{"why": None} | each for each in example["partitions"]]}
    )
    assert found.model_dump(mode="json", exclude_none=True) == example
    assert found.records == found.events + found.duplicates + (found.too_late or 0) + found.bad


def test_no_page_loads_anything_from_elsewhere(api: RunningApi) -> None:
    assert {api.stranger.get(path).status_code for path in ("/docs", "/redoc")} == {404}


def test_the_example_of_windows_is_an_answer(openapi: Any) -> None:
    example = openapi["paths"]["/windows"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert StreamWindows.model_validate_json(json.dumps(example)).model_dump(mode="json") == example


def test_the_example_of_a_trace_is_an_answer(openapi: Any) -> None:
    example = openapi["paths"]["/trace"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    found = Trace.model_validate_json(json.dumps(example))
    # OpenAPI's own document leaves out what is null.
    assert json.loads(found.model_dump_json(exclude_none=True)) == example
