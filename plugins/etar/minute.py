"""The one-minute window: the only place that turns a time into a predicate, a partition or an object name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)

MINUTES_A_DAY = 1440
"""Also the most that one answer of the API has."""


class NotOneMinuteError(ValueError):
    """An interval or instant that does not name exactly one aligned UTC minute."""


@dataclass(frozen=True, order=True)
class MinuteWindow:
    """The half-open minute ``[start, start + 1 min)``, aligned, in UTC.

    Made through :meth:`containing`, :meth:`parse` or :meth:`from_data_interval`; the constructor takes an aligned,
    aware instant and raises :class:`NotOneMinuteError` for anything else.
    """

    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise NotOneMinuteError(
                f"{self.start!r} has no time zone; a minute is named in UTC, e.g. 2026-11-21T10:31Z"
            )
        try:
            start = self.start.astimezone(UTC)
        except OverflowError as error:
            raise NotOneMinuteError(f"{self.start.isoformat()} is out of range in UTC") from error
        if start.second or start.microsecond:
            raise NotOneMinuteError(f"{self.start.isoformat()} is not the start of a minute")
        # Airflow hands over pendulum's subclass, whose arithmetic loses this time zone: keep a plain datetime.
        plain = datetime(start.year, start.month, start.day, start.hour, start.minute, tzinfo=UTC)
        object.__setattr__(self, "start", plain)

    @classmethod
    def containing(cls, instant: datetime) -> MinuteWindow:
        """The minute that an aware ``instant`` falls into: an instant at the end belongs to the next minute."""
        return cls(instant.replace(second=0, microsecond=0))

    @classmethod
    def first_at_or_after(cls, instant: datetime) -> MinuteWindow:
        """The first minute that begins at an aware ``instant`` or later."""
        window = cls.containing(instant)
        return window if window.start == instant else window.next

    @classmethod
    def parse(cls, text: str) -> MinuteWindow:
        """The minute written as ``2026-11-21T10:31Z`` (or any ISO 8601 form of it; no zone means UTC)."""
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as error:
            raise NotOneMinuteError(f"{text!r} is not a minute; write it like 2026-11-21T10:31Z") from error
        return cls(instant if instant.tzinfo else instant.replace(tzinfo=UTC))

    @classmethod
    def from_data_interval(cls, start: datetime | None, end: datetime | None, *, dag_id: str) -> MinuteWindow:
        """The minute of an Airflow run.

        The window comes from the run's data interval and never from its logical date: Airflow gives a scheduled run
        the minute that *begins* at its logical date, but a manual run (and ``airflow dags test``) the one that *ends*
        there.

        Raises:
            NotOneMinuteError: the run has no interval, or one that is not a whole aligned minute.
        """
        how_to_ask = (
            f"{dag_id} works on exactly one whole minute. Give the END of the minute, on the full minute: "
            f"`airflow dags test {dag_id} 2026-11-21T10:32:00` works on [10:31, 10:32). For several minutes: "
            f"`airflow backfill create --dag-id {dag_id} --from-date … --to-date …`."
        )
        if start is None or end is None:
            raise NotOneMinuteError(f"this run has no data interval (triggered without a logical date?). {how_to_ask}")
        if end - start != MINUTE or start.second or start.microsecond:
            raise NotOneMinuteError(f"this run's data interval is [{start}, {end}). {how_to_ask}")
        return cls(start)

    @classmethod
    def between(cls, first: MinuteWindow, end: MinuteWindow) -> Iterator[MinuteWindow]:
        """Every minute from ``first`` up to, and without, ``end``."""
        while first < end:
            yield first
            first = first.next

    @property
    def end(self) -> datetime:
        """The first instant after the minute."""
        return self.start + MINUTE

    @property
    def next(self) -> MinuteWindow:
        return MinuteWindow(self.end)

    @property
    def previous(self) -> MinuteWindow:
        return MinuteWindow(self.start - MINUTE)

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def predicate(self) -> str:
        """SQL over a stream's table, to be run with :attr:`parameters`; prunes to one partition."""
        return "event_minute = {minute:DateTime('UTC')}"

    @property
    def parameters(self) -> dict[str, datetime]:
        """Bound parameters of :attr:`predicate`."""
        return {"minute": self.start}

    @property
    def slug(self) -> str:
        """``2025-08-09_10-30``: the minute as part of an object key; sorts by time."""
        return self.start.strftime("%Y-%m-%d_%H-%M")

    def __str__(self) -> str:
        """``2026-11-21T10:31Z``: what :meth:`parse` reads back."""
        return self.start.strftime("%Y-%m-%dT%H:%MZ")
