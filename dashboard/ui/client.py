"""Asks the report API for reports and their account, and keeps the last good answer for the time it is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from etar.ledger import LedgerEntry
from etar.report import PublishedReport
from etar.settings import ReportReadSettings

_REPORTS = TypeAdapter(list[PublishedReport])
_MINUTES = TypeAdapter(list[LedgerEntry])

_Item = TypeVar("_Item")


class ReportsUnavailableError(Exception):
    """The report API is away, refuses the token, or answers something else than reports; says which."""


@dataclass(frozen=True)
class Snapshot(Generic[_Item]):
    """What is of each minute, oldest first, as the API gave it at ``taken_at``.

    ``problem`` says why there is no newer answer.
    """

    items: tuple[_Item, ...] = ()
    taken_at: datetime | None = None
    problem: str | None = None

    @property
    def newest(self) -> _Item | None:
        return self.items[-1] if self.items else None


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
        return self._list("/reports", limit, _REPORTS)

    def newest_minutes(self, limit: int) -> tuple[LedgerEntry, ...]:
        """What the ledger says of its newest ``limit`` minutes, oldest first.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._list("/minutes", limit, _MINUTES)

    def _list(self, path: str, limit: int, items: TypeAdapter[list[_Item]]) -> tuple[_Item, ...]:
        try:
            response = self._http.get(path, params={"limit": limit})
        except httpx.HTTPError as error:
            raise ReportsUnavailableError(f"{self._url} does not answer ({type(error).__name__})") from error
        if response.status_code in (401, 403):
            raise ReportsUnavailableError(f"{self._url} refuses the read token; check ETAR_API_READ_TOKEN")
        if response.status_code != 200:
            raise ReportsUnavailableError(f"{self._url} answers {response.status_code}: {_detail(response)}")
        try:
            return tuple(items.validate_json(response.content))
        except ValidationError as error:
            what = path.removeprefix("/")
            raise ReportsUnavailableError(f"{self._url} answers what are no {what}: is it the report API?") from error


class Feed(Generic[_Item]):
    """The newest reports, or minutes of the ledger, for every viewer of this process."""

    def __init__(self, fetch: Callable[[], tuple[_Item, ...]], clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._last: Snapshot[_Item] = Snapshot()

    def poll(self) -> Snapshot[_Item]:
        """A new snapshot; without an answer, the last good one with the problem."""
        try:
            items = self._fetch()
        except ReportsUnavailableError as error:
            return Snapshot(self._last.items, self._last.taken_at, problem=str(error))
        self._last = Snapshot(items, self._clock())
        return self._last


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
