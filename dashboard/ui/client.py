"""Asks the report API for reports and their account, and keeps the last good answer for the time it is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from etar.ledger import LedgerEntry
from etar.report import PublishedReport
from etar.settings import ReportReadSettings


class StreamStanding(BaseModel):
    """How a stream stands, as the API says."""

    name: str
    title: str
    newest_minute: AwareDatetime | None
    fault: str | None


_STREAMS = TypeAdapter(list[StreamStanding])
_REPORTS = TypeAdapter(list[PublishedReport])
_MINUTES = TypeAdapter(list[LedgerEntry])

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


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

    def newest(self, stream: str, limit: int) -> tuple[PublishedReport, ...]:
        """The reports of a stream's newest ``limit`` minutes, oldest first.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._list("/reports", _REPORTS, stream=stream, limit=limit)

    def newest_minutes(self, stream: str, limit: int) -> tuple[LedgerEntry, ...]:
        """What the ledger says of a stream's newest ``limit`` minutes, oldest first.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._list("/minutes", _MINUTES, stream=stream, limit=limit)

    def streams(self) -> tuple[StreamStanding, ...]:
        """The streams that are reported, or have been, by name.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._list("/streams", _STREAMS)

    def _list(self, path: str, items: TypeAdapter[list[_Item]], **asked: str | int) -> tuple[_Item, ...]:
        try:
            response = self._http.get(path, params=asked)
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
    """The newest reports, or minutes of the ledger, for every viewer of this process. Safe in several threads."""

    def __init__(
        self, fetch: Callable[[], tuple[_Item, ...]], clock: Callable[[], datetime], *, fresh_for: timedelta
    ) -> None:
        """``fresh_for``: until then, an answer is every viewer's, also that there was none."""
        self._fetch = fetch
        self._clock = clock
        self._fresh_for = fresh_for
        self._lock = Lock()
        self._asked_at: datetime | None = None
        self._last: Snapshot[_Item] = Snapshot()

    def poll(self) -> Snapshot[_Item]:
        """The newest snapshot; without an answer, the last good one with the problem.

        What has not changed stays the same object.
        """
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= self._fresh_for:
                self._asked_at = now
                self._last = self._next(now)
            return self._last

    def _next(self, now: datetime) -> Snapshot[_Item]:
        known = self._last
        try:
            items = self._fetch()
        except ReportsUnavailableError as error:
            return Snapshot(known.items, known.taken_at, problem=str(error))
        return Snapshot(known.items if items == known.items else items, now)


class MadeOnce(Generic[_Item, _Made]):
    """What is made of a snapshot's items, made anew when these are others. Safe in several threads."""

    def __init__(self, make: Callable[[Sequence[_Item]], _Made]) -> None:
        self._make = make
        self._lock = Lock()
        self._of: tuple[tuple[_Item, ...], _Made] | None = None

    def of(self, items: tuple[_Item, ...]) -> _Made:
        with self._lock:
            if self._of is None or self._of[0] is not items:
                self._of = (items, self._make(items))
            return self._of[1]


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
