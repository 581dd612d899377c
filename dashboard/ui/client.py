"""Asks the report API for reports, and keeps the last good answer for the time it is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import TypeAdapter, ValidationError

from etar.report import PublishedReport
from etar.settings import ReportReadSettings

_REPORTS = TypeAdapter(list[PublishedReport])


class ReportsUnavailableError(Exception):
    """The report API is away, refuses the token, or answers something else than reports; says which."""


@dataclass(frozen=True)
class Snapshot:
    """Reports, oldest first, as the API gave them at ``taken_at``; ``problem`` says why there is no newer answer."""

    reports: tuple[PublishedReport, ...] = ()
    taken_at: datetime | None = None
    problem: str | None = None

    @property
    def newest(self) -> PublishedReport | None:
        return self.reports[-1] if self.reports else None


class ReportClient:
    """Reads reports of the API with the read token."""

    def __init__(self, settings: ReportReadSettings, *, timeout_seconds: float = 5.0) -> None:
        self._url = settings.url
        self._http = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Bearer {settings.read_token.get_secret_value()}"},
            timeout=timeout_seconds,
        )

    def newest(self, limit: int) -> tuple[PublishedReport, ...]:
        """The newest ``limit`` minutes' reports, oldest first.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        try:
            response = self._http.get("/reports", params={"limit": limit})
        except httpx.HTTPError as error:
            raise ReportsUnavailableError(f"{self._url} does not answer ({type(error).__name__})") from error
        if response.status_code in (401, 403):
            raise ReportsUnavailableError(f"{self._url} refuses the read token; check ETAR_API_READ_TOKEN")
        if response.status_code != 200:
            raise ReportsUnavailableError(f"{self._url} answers {response.status_code}: {_detail(response)}")
        try:
            return tuple(_REPORTS.validate_json(response.content))
        except ValidationError as error:
            raise ReportsUnavailableError(f"{self._url} answers what are no reports: is it the report API?") from error


class Feed:
    """The newest reports for every viewer of this process."""

    def __init__(self, fetch: Callable[[], tuple[PublishedReport, ...]], clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._last = Snapshot()

    def poll(self) -> Snapshot:
        """A new snapshot; without an answer, the last good one with the problem."""
        try:
            reports = self._fetch()
        except ReportsUnavailableError as error:
            return Snapshot(self._last.reports, self._last.taken_at, problem=str(error))
        self._last = Snapshot(reports, self._clock())
        return self._last


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
