"""Times as a viewer reads them: in the own time zone, and beside it in UTC, by which minutes are named. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Axis(NamedTuple):
    """An axis of time, at one distance from UTC from end to end, whatever a change to summer time does meanwhile.

    ``moment``: what is pointed at, in a plotly template of a trace whose ``customdata`` is :meth:`utc`."""

    title: str
    moment: str
    zone: timezone

    def places(self, instants: Iterable[datetime]) -> list[datetime]:
        """Where they are on it: plotly draws the time that is written, and leaves its distance from UTC alone."""
        return [each.astimezone(self.zone) for each in instants]

    @staticmethod
    def utc(instants: Iterable[datetime]) -> list[str]:
        return [f"{each:%H:%M}" for each in instants]


@dataclass(frozen=True)
class Clock:
    """A viewer's. ``zone``: None where that is UTC, or not known."""

    zone: ZoneInfo | None = None

    @classmethod
    def of(cls, zone: str | None) -> Clock:
        """``zone``: its name, as a browser says it."""
        try:
            return cls(ZoneInfo(zone) if zone else None)
        except (ZoneInfoNotFoundError, ValueError):
            return cls()

    def said(self, instant: datetime) -> str:
        """``2026-11-21 16:01:05 Asia/Kolkata (10:31:05 UTC)``; with the day in UTC where it is another."""
        here = self._here(instant)
        if here is None:
            return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
        utc = f"{instant:%H:%M:%S}" if here.date() == instant.date() else f"{instant:%Y-%m-%d %H:%M:%S}"
        return f"{here:%Y-%m-%d %H:%M:%S} {self.zone} ({utc} UTC)"

    def beside(self, instant: datetime, form: str = "%H:%M") -> str | None:
        """``16:01 in Asia/Kolkata``, to stand beside what says the same in UTC; None where it is the same."""
        here = self._here(instant)
        return None if here is None else f"{here:{form}} in {self.zone}"

    def column(self, name: str, instants: Iterable[datetime | None], form: str = "%H:%M") -> dict[str, list[str]]:
        """For a table with a column ``name (UTC)``: the same in the viewer's zone; none where that is UTC."""
        found = list(instants)
        if not any(each and self._here(each) for each in found):
            return {}
        return {f"{name} ({self.zone})": [f"{each.astimezone(self.zone):{form}}" if each else "-" for each in found]}

    def cells(self, name: str, instants: Iterable[datetime | None], form: str = "%H:%M") -> list[dict[str, str]]:
        """The same as :meth:`column`, for a table that is made row by row: what each row has of it."""
        found = list(instants)
        columns = self.column(name, found, form)
        return [{each: texts[place] for each, texts in columns.items()} for place in range(len(found))]

    def axis(self, newest: datetime | None) -> Axis:
        """That ends at ``newest``; None where there is nothing on it."""
        here = self._here(newest) if newest else None
        if here is None:
            return Axis("UTC", "%{x|%H:%M} UTC", UTC)
        zone = timezone(here.utcoffset() or timedelta())
        return Axis(f"{self.zone} ({zone})", f"%{{x|%H:%M}} {self.zone} (%{{customdata}} UTC)", zone)

    def _here(self, instant: datetime) -> datetime | None:
        here = instant.astimezone(self.zone) if self.zone else None
        return here if here and here.utcoffset() else None


IN_UTC = Clock()
