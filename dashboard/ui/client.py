"""Asks the report API for reports and their account, and keeps the last good answer for the time it is away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any, Generic, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from etar.account import Account
from etar.alerts.board import ShownAlert
from etar.dead_letters.answer import LetterCounts, ListedLetter, WholeLetter
from etar.dead_letters.letters import LetterId
from etar.ledger import LedgerEntry, MinuteHistory
from etar.minute import MinuteWindow
from etar.pipeline.standing import Day
from etar.report import PublishedReport
from etar.settings import ReportReadSettings
from etar.trace.answer import Trace
from etar.windows import StreamWindows


class StreamStanding(BaseModel):
    """How a stream stands, as the API says."""

    name: str
    title: str
    newest_minute: AwareDatetime | None
    fault: str | None
    audited_through: AwareDatetime | None = None
    lost: int = 0
    failed: int = 0
    first_failed: AwareDatetime | None = None
    windows: str | None = None
    """Title of its live windows."""


class Number(BaseModel):
    """One number of a metric."""

    name: str
    labels: dict[str, str]
    value: float | None
    about: str


class System(BaseModel):
    """How the alerts stand, and numbers. ``problem``: why it is not known how they stand now."""

    alerts: tuple[ShownAlert, ...]
    targets: tuple[str, ...]
    numbers: tuple[Number, ...]
    problem: str | None
    problems: tuple[str, ...]


_STREAMS = TypeAdapter(list[StreamStanding])
_REPORTS = TypeAdapter(list[PublishedReport])
_MINUTES = TypeAdapter(list[LedgerEntry])
_LETTERS = TypeAdapter(list[ListedLetter])

_TRACE_SECONDS = 90.0
"""An event's look-up reads the ids of hours of a table, and waits for places that are away."""

_LETTERS_SECONDS = 30.0
"""Dead letters are looked up in warehouse, Kafka and registry, each of which may be waited for."""

_KEPT = 200
"""Answers that the API need not send again: the days and minutes that somebody looked at last."""

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class FoundLetters:
    """Dead letters of a range of time: how many of which reason, and the newest of them. ``more``: there may be
    others."""

    counts: LetterCounts
    listed: tuple[ListedLetter, ...]
    more: bool


@dataclass(frozen=True)
class KnownMinute:
    """A minute as ledger and reports have it: no history before a run has begun it, and its newest revisions, oldest
    first."""

    history: MinuteHistory | None
    reports: tuple[PublishedReport, ...]


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
        self._known: dict[Hashable, tuple[str, tuple[Any, ...]]] = {}
        self._lock = Lock()

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

    def windows(self, stream: str, limit: int) -> tuple[StreamWindows, ...]:
        """The newest ``limit`` live windows of a stream, as one answer. What has not changed is not sent again, and is
        the same object.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._unless_known("/windows", _one(StreamWindows), stream=stream, limit=limit)

    def day(self, stream: str, day: date) -> tuple[Day, ...]:
        """How each minute of a UTC day stands, as one answer; sent again only if it has changed, as :meth:`windows`.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        return self._unless_known(f"/days/{day}", _one(Day), stream=stream)

    def minute(self, stream: str, window: MinuteWindow, revisions: int) -> tuple[KnownMinute, ...]:
        """All that is known of a minute, as one answer, with the newest ``revisions`` of its report.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        response = self._get(f"/minutes/{window}", {"stream": stream}, also=[404])
        try:
            history = None if response.status_code == 404 else MinuteHistory.model_validate_json(response.content)
        except ValidationError as error:
            raise self._other_than("minutes") from error
        path = f"/minutes/{window}/reports"
        reports = self._unless_known(path, _REPORTS.validate_json, stream=stream, limit=revisions)
        return (KnownMinute(history, reports),)

    def account(self, stream: str, minutes: int, end: MinuteWindow | None) -> tuple[Account, ...]:
        """What arrived in so many minutes, as one answer: those before ``end``, or the newest that are audited; sent
        again only if it has changed, as :meth:`windows`.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        asked: dict[str, str | int] = {"stream": stream, "minutes": minutes}
        if end is not None:
            asked["to"] = f"{end}"
        return self._unless_known("/account", _one(Account), **asked)

    def dead_letters(
        self, stream: str, start: datetime, end: datetime, narrowed: Mapping[str, str], limit: int
    ) -> tuple[FoundLetters, ...]:
        """Dead letters that the broker took in ``[start, end)``, as one answer, with the newest ``limit`` of them.

        Args:
            narrowed: by reason, field or state, as the API's ``/dead-letters`` has them. Counts are of every state.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        asked = {"stream": stream, "from": start.isoformat(), "to": end.isoformat(), **narrowed}
        of_any_state = {name: value for name, value in asked.items() if name != "state"}
        counts = self._get("/dead-letters/counts", of_any_state, timeout=_LETTERS_SECONDS)
        listed = self._get("/dead-letters", {**asked, "limit": limit}, timeout=_LETTERS_SECONDS)
        try:
            return (
                FoundLetters(
                    LetterCounts.model_validate_json(counts.content),
                    tuple(_LETTERS.validate_json(listed.content)),
                    more="next" in listed.links,
                ),
            )
        except ValidationError as error:
            raise self._other_than("dead letters") from error

    def dead_letter(self, stream: str, letter: LetterId) -> tuple[WholeLetter, ...]:
        """One dead letter as one answer; none where there is no such letter.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        path = f"/dead-letters/{letter.partition}/{letter.offset}"
        response = self._get(path, {"stream": stream}, also=[404], timeout=_LETTERS_SECONDS)
        try:
            return () if response.status_code == 404 else (WholeLetter.model_validate_json(response.content),)
        except ValidationError as error:
            raise self._other_than("dead letters") from error

    def system(self) -> tuple[System, ...]:
        """What the API says of itself and of the jobs, as one answer.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        response = self._get("/system", {})
        try:
            return (System.model_validate_json(response.content),)
        except ValidationError as error:
            raise self._other_than("metrics") from error

    def trace(self, stream: str, asked: Mapping[str, str | Sequence[str]]) -> Trace:
        """Where an event is; ``asked``: as the API's ``/trace`` has it.

        Raises:
            ReportsUnavailableError: there was no such answer.
        """
        response = self._get("/trace", {"stream": stream, **asked}, timeout=_TRACE_SECONDS)
        try:
            return Trace.model_validate_json(response.content)
        except ValidationError as error:
            raise self._other_than("traces") from error

    def _list(self, path: str, items: TypeAdapter[list[_Item]], **asked: str | int) -> tuple[_Item, ...]:
        response = self._get(path, asked)
        try:
            return tuple(items.validate_json(response.content))
        except ValidationError as error:
            raise self._other_than(path.removeprefix("/")) from error

    def _unless_known(
        self, path: str, read: Callable[[bytes], Iterable[_Item]], **asked: str | int
    ) -> tuple[_Item, ...]:
        """An answer that the API sends only if it is not the last one; if it is, the same object."""
        key = (path, *sorted(asked.items()))
        with self._lock:
            tag, known = self._known.get(key, ("", ()))
        response = self._get(path, asked, tag=tag)
        if response.status_code == 304:
            return known
        try:
            answer = tuple(read(response.content))
        except ValidationError as error:
            raise self._other_than(path.rsplit("/")[1]) from error
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = (response.headers.get("ETag", ""), answer)
            if len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        return answer

    def _get(
        self,
        path: str,
        asked: Mapping[str, str | int | Sequence[str]],
        *,
        tag: str = "",
        also: Collection[int] = (),
        timeout: float | None = None,
    ) -> httpx.Response:
        """What the API says, or 304 where that still has the ``tag``; a status of ``also`` is an answer, too."""
        headers = {"If-None-Match": tag} if tag else {}
        try:
            waited = self._http.timeout if timeout is None else httpx.Timeout(timeout)
            response = self._http.get(path, params=dict(asked), headers=headers, timeout=waited)
        except httpx.HTTPError as error:
            raise ReportsUnavailableError(f"{self._url} does not answer ({type(error).__name__})") from error
        if response.status_code in (401, 403):
            raise ReportsUnavailableError(f"{self._url} refuses the read token; check ETAR_API_READ_TOKEN")
        if response.status_code not in {200, *also} and not (tag and response.status_code == 304):
            raise ReportsUnavailableError(f"{self._url} answers {response.status_code}: {_detail(response)}")
        return response

    def _other_than(self, what: str) -> ReportsUnavailableError:
        return ReportsUnavailableError(f"{self._url} answers what are no {what}: is it the report API?")


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

    @property
    def has_answered(self) -> bool:
        """Whether there is something to show while the next question is under way."""
        return self._last.taken_at is not None

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


def _one(model: type[_Model]) -> Callable[[bytes], tuple[_Model]]:
    return lambda content: (model.model_validate_json(content),)


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
