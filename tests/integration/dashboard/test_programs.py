"""What a program can rely on, whichever route it asks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.dashboard.serving import RunningApi
from tests.unit.dashboard.samples import a_report, minutes_after

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/reports", "/minutes", "/streams", "/health", "/minutes/2020-01-01T00:00Z", "/nowhere"]
)
def test_an_address_with_the_version_is_the_same_one(api: RunningApi, path: str) -> None:
    plain, versioned = api.reader.get(path), api.reader.get(f"/v1{path}")
    assert (versioned.status_code, versioned.content) == (plain.status_code, plain.content)


@pytest.mark.parametrize("path", ["/v1", "/v10/reports", "/v2/reports", "/v1reports"])
def test_another_version_is_none(api: RunningApi, path: str) -> None:
    assert api.reader.get(path).status_code == 404


def test_the_description_of_the_version_names_its_prefix(api: RunningApi) -> None:
    plain, versioned = (api.stranger.get(f"{prefix}/openapi.json").json() for prefix in ("", "/v1"))
    assert versioned.pop("servers") == [{"url": "/v1"}]
    assert versioned == plain


@pytest.mark.parametrize(
    ("asked", "status", "title", "detail"),
    [
        ({"url": "/nowhere"}, 404, "Not Found", "Not Found"),
        ({"url": "/report", "method": "DELETE"}, 405, "Method Not Allowed", "Method Not Allowed"),
        ({"url": "/report", "params": {"stream": "no_such"}}, 404, "Not Found", "no report of no_such yet"),
        (
            {"url": "/reports", "params": {"from": "noon", "limit": "0"}},
            422,
            "Unprocessable Content",
            "query.from: Value error, 'noon' is not an instant with its time zone; write it like 2026-11-21T10:31Z "
            "(a + is %2B in a URL); query.limit: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_refusal_is_a_problem_that_a_program_and_a_person_can_read(
    api: RunningApi, asked: dict[str, Any], status: int, title: str, detail: str
) -> None:
    answer = api.reader.request(**{"method": "GET"} | asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    said = answer.json()
    assert [part["loc"] for part in said.pop("errors", [])] == (
        [["query", "from"], ["query", "limit"]] if status == 422 else []
    )
    assert said == {"type": "about:blank", "title": title, "status": status, "detail": detail}


def test_a_refusal_keeps_its_headers(api: RunningApi) -> None:
    refused = api.stranger.get("/v1/reports")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("path", ["/reports", "/nowhere", "/reports?limit=0", "/openapi.json"])
def test_no_answer_may_be_used_by_a_page_of_somebody_else(api: RunningApi, path: str) -> None:
    headers = api.reader.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "private, no-cache"
    assert "access-control-allow-origin" not in headers


def test_all_minutes_are_read_page_by_page(api: RunningApi, stream: str) -> None:
    for count in range(7):
        posted = api.writer.post("/report", json=a_report(minutes_after(count), stream=stream).model_dump(mode="json"))
        assert posted.status_code == 201
    pages = list(pages_of(api.reader, "/v1/reports", {"stream": stream, "limit": 3, "from": "2025-11-21T10:32Z"}))
    minutes = [[report["minute"][11:16] for report in page] for page in pages]
    assert minutes == [["10:35", "10:36", "10:37"], ["10:32", "10:33", "10:34"]]


def pages_of(client: httpx.Client, path: str, parameters: dict[str, Any]) -> Any:
    answer = client.get(path, params=parameters)
    yield answer.raise_for_status().json()
    while "next" in answer.links:
        answer = client.get(answer.url.join(answer.links["next"]["url"]))
        yield answer.raise_for_status().json()
