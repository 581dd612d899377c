"""What the API's answers mean for the task, and which stored analyses are believed."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from requests import PreparedRequest, Response

from etar.errors import PermanentError, TransientError
from etar.minute import MinuteWindow
from etar.pipeline.publish import (
    BearerToken,
    ReportApiError,
    ReportRefusedError,
    ResultMismatchError,
    publish,
    report_of,
    summary,
)
from etar.report import MinuteReport, PublishedReport
from etar.streams import default_stream
from tests.interactions import Outcomes, Report

WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))
REPORT = Report(
    minute=WINDOW.start,
    total_events=4,
    total_errors=1,
    event_types={"view": Outcomes(success=3, error=1)},
    unique_users=2,
    rows_read=5,
    source_object="s3a://etar/extracts/user_interactions/2026-11-21_10-31.parquet",
)


def published(report: Report, revision: int = 1) -> str:
    known = report.model_dump() | {"revision": revision, "published_at": WINDOW.end}
    return PublishedReport.model_validate(known).model_dump_json()


class Api:
    """Answers as told, and keeps what it was sent."""

    def __init__(self, status: int, body: str) -> None:
        self.response = Response()
        self.response.status_code = status
        self.response._content = body.encode()
        self.sent: list[tuple[str, str]] = []
        self.options: dict[str, Any] = {}

    def run(self, endpoint: str, *, data: str, headers: dict[str, str], extra_options: dict[str, Any]) -> Response:
        assert headers == {"Content-Type": "application/json"}
        self.sent.append((endpoint, data))
        self.options = extra_options
        return self.response


class Results(dict[str, bytes]):
    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "etar"
        return {"Body": io.BytesIO(self[Key])}


@pytest.mark.parametrize("status", [200, 201])
def test_a_taken_report_comes_back_with_its_revision(status: int) -> None:
    api = Api(status, published(REPORT, revision=3))
    taken = publish(REPORT, http=api)
    assert taken.revision == 3
    assert [endpoint for endpoint, _ in api.sent] == ["/report"]
    assert Report.model_validate_json(api.sent[0][1]) == REPORT
    assert summary(taken) == "2026-11-21T10:31Z: 4 events, 1 errors (25.00%), 2 users, from 5 rows: revision 3"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 422])
def test_a_refusal_is_permanent_and_in_the_apis_own_words(status: int) -> None:
    with pytest.raises(ReportRefusedError, match=f"with {status}: .*unique_users is more than") as refused:
        publish(REPORT, http=Api(status, '{"detail": "unique_users is more than total_events"}'))
    assert isinstance(refused.value, PermanentError)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_on_the_apis_side_is_worth_a_retry(status: int) -> None:
    with pytest.raises(ReportApiError, match=f"{status} for minute 2026-11-21T10:31Z: store away") as failed:
        publish(REPORT, http=Api(status, "store away"))
    assert isinstance(failed.value, TransientError)


@pytest.mark.parametrize("body", ["", "<html>welcome</html>", "{}", REPORT.model_dump_json()])
def test_a_success_that_is_no_published_report_is_not_believed(body: str) -> None:
    with pytest.raises(ReportApiError, match="not with a report"):
        publish(REPORT, http=Api(200, body))


def test_a_success_with_another_report_is_not_believed() -> None:
    other = REPORT.model_copy(update={"rows_read": 6})
    with pytest.raises(ReportApiError, match="another report"):
        publish(REPORT, http=Api(200, published(other)))


def test_a_redirect_is_not_followed_and_a_silent_api_is_given_up() -> None:
    api = Api(200, published(REPORT))
    publish(REPORT, http=api)
    assert api.options["allow_redirects"] is False
    assert 0 < api.options["timeout"] <= 60


def test_the_token_is_a_header_and_not_in_the_objects_repr() -> None:
    request = PreparedRequest()
    request.prepare("POST", "http://127.0.0.1:1/report", auth=BearerToken("t0ken-of-the-writer"))
    assert request.headers["Authorization"] == "Bearer t0ken-of-the-writer"
    assert "t0ken" not in repr(BearerToken("t0ken-of-the-writer"))


def report_from(results: Results, *, rows: int = 5) -> MinuteReport:
    return report_of(WINDOW, rows=rows, stream=default_stream(), store=results, bucket="etar")


def test_the_stored_analysis_is_the_report() -> None:
    assert report_from(Results({default_stream().result_key(WINDOW): REPORT.model_dump_json().encode()})) == REPORT


def test_an_empty_minute_is_zeros_whatever_is_stored() -> None:
    stale = Results({default_stream().result_key(WINDOW): REPORT.model_dump_json().encode()})
    assert report_from(stale, rows=0) == Report.empty(WINDOW, stream="user_interactions")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        pytest.param(REPORT.model_copy(update={"minute": WINDOW.next.start}), "10:32Z", id="of another minute"),
        pytest.param(REPORT.model_copy(update={"stream": "sales"}), "rows of sales", id="of another stream"),
        pytest.param(REPORT.model_copy(update={"rows_read": 6}), "analysis of 6 rows", id="of an earlier extract"),
    ],
)
def test_an_analysis_of_something_else_is_refused(stored: Report, said: str) -> None:
    results = Results({default_stream().result_key(WINDOW): stored.model_dump_json().encode()})
    with pytest.raises(ResultMismatchError, match=f"{said}.*clear this run's tasks"):
        report_from(results)


@pytest.mark.parametrize("content", [b"", b"{", REPORT.model_dump_json().encode()[:-5]])
def test_an_object_that_is_no_report_is_refused_by_name(content: bytes) -> None:
    results = Results({default_stream().result_key(WINDOW): content})
    with pytest.raises(ResultMismatchError, match=r"s3://etar/results/.*2026-11-21_10-31\.json is not a report"):
        report_from(results)
