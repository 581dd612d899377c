"""Publish: a minute's report, from its analysis in the object store (or from its emptiness) to the report API."""

from __future__ import annotations

from http import HTTPStatus
from typing import IO, Any, Protocol

from pydantic import ValidationError
from requests import PreparedRequest, Response
from requests.auth import AuthBase

from etar.errors import PermanentError, TransientError
from etar.minute import MinuteWindow
from etar.report import MinuteReport, PublishedReport
from etar.stream_code import headline, report_model
from etar.streams import Stream

_TIMEOUT_SECONDS = 30
_WORTH_RETRYING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class ResultMismatchError(PermanentError):
    """The stored analysis is not one of this minute's extract."""


class ReportRefusedError(PermanentError):
    """The API will not take this report, now or later."""


class ReportApiError(TransientError):
    """The API could not take the report this time."""


class ObjectStore(Protocol):
    """The part of a boto3 S3 client that publishing uses (by keyword, as boto3 wants it)."""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...


class Http(Protocol):
    """The part of Airflow's HttpHook that publishing uses."""

    def run(self, endpoint: str, *, data: str, headers: dict[str, str], extra_options: dict[str, Any]) -> Response: ...


class BearerToken(AuthBase):
    """Puts a token on a request. As a session's ``auth`` it also keeps requests from taking one out of ``~/.netrc``."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def report_of(window: MinuteWindow, *, rows: int, stream: Stream, store: ObjectStore, bucket: str) -> MinuteReport:
    """The report of a minute whose extract holds ``rows`` rows; without rows nothing is read.

    Raises:
        StreamCodeError: the stream's folder has no model that can be used.
        ResultMismatchError: the result object is not a report, or one of another minute or another extract.
    """
    model = report_model(stream)
    if not rows:
        return model.empty(window, stream=stream.name)
    key = stream.result_key(window)
    body: IO[bytes] = store.get_object(Bucket=bucket, Key=key)["Body"]
    try:
        report = model.model_validate_json(body.read())
    except ValidationError as error:
        raise ResultMismatchError(f"s3://{bucket}/{key} is not a report: {error}") from error
    if (report.stream, report.window, report.rows_read) != (stream.name, window, rows):
        raise ResultMismatchError(
            f"s3://{bucket}/{key} is the analysis of {report.rows_read} rows of {report.stream} {report.window}, but "
            f"the extract of {stream.name} {window} has {rows}; clear this run's tasks"
        )
    return report


def publish(report: MinuteReport, *, http: Http) -> PublishedReport:
    """POST the report. The same report again is the same revision, so this may be repeated freely.

    Raises:
        ReportRefusedError: the API answered 3xx or 4xx; the message is the API's own.
        ReportApiError: it answered 5xx (or 408, 425, 429), or something that is not this report.
    """
    response = http.run(
        "/report",
        data=report.model_dump_json(),
        headers={"Content-Type": "application/json"},
        # check_response raises without the API's message; a redirect would turn the POST into a GET.
        extra_options={"check_response": False, "allow_redirects": False, "timeout": _TIMEOUT_SECONDS},
    )
    status = response.status_code
    if status >= 500 or status in _WORTH_RETRYING:
        raise ReportApiError(f"the report API answered {status} for minute {report.window}: {response.text[:2000]}")
    if status >= 300:
        raise ReportRefusedError(
            f"the report API refused the report of minute {report.window} with {status}: {response.text[:2000]}"
        )
    try:
        published = PublishedReport.model_validate_json(response.content)
    except ValidationError as error:
        raise ReportApiError(
            f"the report API answered {status} for minute {report.window}, but not with a report: {error}"
        ) from error
    if published.content != report.model_dump(mode="json"):
        raise ReportApiError(f"the report API answered with another report than the one sent: {response.text[:2000]}")
    return published


def summary(published: PublishedReport) -> str:
    """One line for the task log."""
    return (
        f"{published.window}: {headline(published)}, from {published.rows_read:,} rows: revision {published.revision}"
    )
