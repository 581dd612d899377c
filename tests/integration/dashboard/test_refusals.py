from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.serving import MAX_BODY_BYTES, READ_TOKEN, WRITE_TOKEN, RunningApi, bearer, serving
from tests.stream_folders import like_the_first
from tests.unit.dashboard.samples import a_report

READ = [
    *("/report", "/reports", "/streams", "/minutes", "/minutes/2025-11-21T10:31Z"),
    *("/minutes/2025-11-21T10:31Z/reports", "/days/2025-11-21", "/account"),
]
JSON = {"Content-Type": "application/json"}


def padded_report(size: int, stream: str) -> bytes:
    """A good report as exactly ``size`` bytes of JSON."""
    body = a_report(stream=stream).model_dump_json().encode()
    return body + b" " * (size - len(body))


class TestTokens:
    @pytest.mark.parametrize("headers", [{}, bearer("unknown"), {"Authorization": f"Basic {READ_TOKEN}"}])
    @pytest.mark.parametrize(("method", "path"), [("POST", "/report"), *(("GET", path) for path in READ)])
    def test_without_a_known_token_nothing_is_read_or_written(
        self, api: RunningApi, method: str, path: str, headers: dict[str, str]
    ) -> None:
        response = api.stranger.request(method, path, headers=headers)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "token" in response.json()["detail"]

    def test_the_read_token_does_not_write(self, api: RunningApi, stream: str) -> None:
        response = api.reader.post("/report", json=a_report(stream=stream).model_dump(mode="json"))

        assert response.status_code == 403
        assert "a writer's is needed" in response.json()["detail"]
        assert api.reader.get("/report", params={"stream": stream}).status_code == 404

    @pytest.mark.parametrize("path", READ)
    def test_the_write_token_does_not_read(self, api: RunningApi, path: str) -> None:
        response = api.writer.get(path)

        assert response.status_code == 403
        assert "a reader's or an operator's is needed" in response.json()["detail"]

    def test_health_is_open(self, api: RunningApi) -> None:
        response = api.stranger.get("/health")

        assert (response.status_code, response.json()) == (200, {"status": "ok"})


class TestBodies:
    @pytest.mark.parametrize(("extra", "status"), [(-1, 201), (0, 201), (1, 413)])
    def test_a_declared_body_up_to_the_limit(self, api: RunningApi, stream: str, extra: int, status: int) -> None:
        body = padded_report(MAX_BODY_BYTES + extra, stream)

        assert api.writer.post("/report", content=body, headers=JSON).status_code == status

    @pytest.mark.parametrize(("extra", "status"), [(-1, 201), (0, 201), (1, 413)])
    def test_a_chunked_body_up_to_the_limit(self, api: RunningApi, stream: str, extra: int, status: int) -> None:
        body = padded_report(MAX_BODY_BYTES + extra, stream)

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(body), 1000):
                yield body[start : start + 1000]

        assert api.writer.post("/report", content=chunks(), headers=JSON).status_code == status

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_far_too_large_body_gets_its_answer_too(self, api: RunningApi, chunked: bool) -> None:
        body = b" " * 30_000_000

        response = api.writer.post("/report", content=iter([body]) if chunked else body, headers=JSON)

        assert response.status_code == 413
        assert response.json()["detail"] == f"the body is larger than {MAX_BODY_BYTES} bytes"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"total_events": 5}, "but the totals say 5"),
            ({"unique_users": 10_000}, "is more than total_events"),
            ({"rows_read": 1}, "is more than rows_read"),
            ({"total_errors": -1}, "greater than or equal to 0"),
            ({"minute": "2025-11-21T10:31:01Z"}, "not the start of a minute"),
            ({"minute": "2025-11-21T10:31:00"}, "timezone"),
            ({"minute": "9999-12-31T23:59:00-12:00"}, "out of range"),
            ({"schema_version": 2}, "Input should be 1"),
            ({"revision": 7}, "Extra inputs are not permitted"),
            ({"stream": "sales"}, "'sales' is no stream; known are "),
            ({"stream": "../../etc"}, "is no stream"),
            ({"stream": "a\x00b"}, "is no stream"),
            ({"stream": 5}, "is no stream"),
            ({"source_object": "a\x00b"}, "cannot hold this"),
            ({"stream": "\ud800"}, "is no stream"),
            ({"unique_users": float("nan")}, "finite number"),
        ],
        ids=str,
    )
    def test_what_is_no_report_is_refused_with_the_reason(
        self, api: RunningApi, change: dict[str, object], reason: str
    ) -> None:
        body = json.dumps(a_report(stream=like_the_first("refused").name).model_dump(mode="json") | change)

        response = api.writer.post("/report", content=body, headers=JSON)

        assert response.status_code == 422
        assert reason in response.json()["errors"][0]["msg"]
        assert api.reader.get("/report", params={"stream": "refused"}).status_code == 404

    def test_a_minute_that_has_not_begun_is_refused(self, api: RunningApi, stream: str) -> None:
        current = MinuteWindow.containing(datetime.now(UTC))
        tomorrow = MinuteWindow(current.start + timedelta(days=1))

        refused = api.writer.post("/report", json=a_report(tomorrow, stream=stream).model_dump(mode="json"))

        assert refused.status_code == 422
        (part,) = refused.json()["errors"]
        assert part["loc"] == ["body", "minute"]
        assert f"{tomorrow} has not begun" in part["msg"]
        assert api.reader.get("/report", params={"stream": stream}).status_code == 404
        begun = api.writer.post("/report", json=a_report(current, stream=stream).model_dump(mode="json"))
        assert begun.status_code == 201

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 422),
            (b"{", 422),
            (b"null", 422),
            (b"[]", 422),
            (b'{"\x80": 1}', 400),
            (b"[" * 10_000, 400),
            (b'{"total_events": 1' + b"0" * 5000 + b"}", 400),
        ],
        ids=["empty", "cut", "null", "list", "no UTF-8", "deep", "huge number"],
    )
    def test_what_is_no_json_object_is_refused(self, api: RunningApi, body: bytes, status: int) -> None:
        response = api.writer.post("/report", content=body, headers=JSON)

        assert response.status_code == status, response.text
        assert response.json()["detail"]


def test_the_log_is_one_json_object_a_line_and_holds_no_token(api: RunningApi, stream: str) -> None:
    api.writer.post("/report", json=a_report(stream=stream).model_dump(mode="json"))
    api.stranger.get("/report", headers=bearer("not-a-known-token"))
    httpx.get(f"{api.url}/nowhere", headers=bearer(WRITE_TOKEN))

    text = api.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]

    published = [line for line in lines if line["message"] == "report published" and line["stream"] == stream]
    assert [(line["minute"], line["revision"]) for line in published] == [("2025-11-21T10:31Z", 1)]
    assert not any(token in text for token in (READ_TOKEN, WRITE_TOKEN, "not-a-known-token"))


class TestRates:
    @pytest.fixture
    def limited(
        self, report_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[RunningApi]:
        """Takes three requests of a token and two without one, a minute."""
        monkeypatch.setenv("ETAR_API_MAX_REQUESTS_A_MINUTE", "3")
        monkeypatch.setenv("ETAR_API_MAX_REFUSALS_A_MINUTE", "2")
        with serving(report_store, tmp_path / "api.log") as running:
            yield running

    def test_who_asks_too_often_is_told_when_to_come_again(self, limited: RunningApi) -> None:
        answers = [limited.reader.get("/streams") for _ in range(4)]

        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        refused = answers[-1]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert refused.json()["detail"].startswith("this token has asked 3 times in a minute; try again in ")
        assert limited.writer.get("/streams").status_code == 403
        assert limited.stranger.get("/health").status_code == 200

    def test_guesses_are_refused_unseen_and_who_was_there_before_goes_on(self, limited: RunningApi) -> None:
        assert limited.reader.get("/streams").status_code == 200
        guesses = [limited.stranger.get("/streams", headers=bearer(f"guess {n}")).status_code for n in range(3)]
        assert guesses == [401, 401, 429]
        assert limited.writer.get("/streams").status_code == 429  # good, but new here
        assert limited.reader.get("/streams").status_code == 200
