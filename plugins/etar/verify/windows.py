"""Compares the live windows of a stream with the reports of their minutes. Pure, as :mod:`etar.verify.compare`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby

from pydantic import AwareDatetime, BaseModel, ConfigDict

from etar.streams import Windows
from etar.windows import Number

_MOST_GROUPS = 3


class WindowNumbers(BaseModel):
    """One number of a window, over all groups: what the job ``streamed``, what holds ``now``, what the ``report`` says
    (None without one). ``corrected`` is by how much the report changed the job's; ``difference``, now - report, is 0
    once the window is final."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    streamed: Number
    now: Number
    report: Number | None
    corrected: Number | None
    difference: Number | None


class WindowAccount(BaseModel):
    """One live window beside its report. ``difference`` counts the groups that are not as the report says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: AwareDatetime
    final: bool
    revision: int | None
    numbers: Mapping[str, WindowNumbers]
    difference: int
    note: str | None


@dataclass(frozen=True)
class GroupInPlaces:
    """One group of a window and of the newest report of its minute, as PostgreSQL had both at one instant.

    ``row`` is None where the table has none; ``report_revision`` is None where there is no report. Numbers are by the
    declared value's column; ``said`` has what the report does not name as None.
    """

    window: datetime
    group: str
    row: GroupRow | None
    report_revision: int | None
    said: Mapping[str, Number | None]


@dataclass(frozen=True)
class GroupRow:
    """A row of the table of live windows."""

    now: Mapping[str, Number]
    streamed: Mapping[str, Number]
    final: bool
    revision: int | None
    ends_after_a_minute: bool


def exact(value: object) -> Number | None:
    """A report's number, whole or exact; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, int):
        return value
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def compare_windows(declared: Windows, groups: Sequence[GroupInPlaces]) -> tuple[WindowAccount, ...]:
    """The account of each window, of groups that are sorted by window."""
    return tuple(_window(declared, list(of_window)) for _, of_window in groupby(groups, key=lambda each: each.window))


def _window(declared: Windows, groups: Sequence[GroupInPlaces]) -> WindowAccount:
    reported = groups[0].report_revision
    wrong = {each.group: fault for each in groups if (fault := _fault(declared, each))}
    rows = [each.row for each in groups if each.row]
    revisions = {row.revision for row in rows}
    return WindowAccount(
        window=groups[0].window,
        final=bool(rows) and all(row.final for row in rows),
        revision=revisions.pop() if len(revisions) == 1 else None,
        numbers={value.column: _numbers(value.column, groups, reported) for value in declared.values},
        difference=len(wrong),
        note="; ".join(_notes(wrong)) or None,
    )


def _numbers(column: str, groups: Sequence[GroupInPlaces], reported: int | None) -> WindowNumbers:
    streamed = sum((each.row.streamed[column] for each in groups if each.row), start=0)
    now = sum((each.row.now[column] for each in groups if each.row), start=0)
    if reported is None:
        return WindowNumbers(streamed=streamed, now=now, report=None, corrected=None, difference=None)
    said = sum((each.said[column] or 0 for each in groups), start=0)
    return WindowNumbers(streamed=streamed, now=now, report=said, corrected=said - streamed, difference=now - said)


def _fault(declared: Windows, found: GroupInPlaces) -> str | None:
    """Why a group is not as its minute's report says; None if it is."""
    row = found.row
    if row is not None and not row.ends_after_a_minute:
        return "is no window of a minute"
    if found.report_revision is None:
        counted = row is not None and any(row.streamed.values())
        return "was streamed, and no report says of it" if counted else None
    said = {value.column: found.said[value.column] or 0 for value in declared.values}
    if row is None:
        return f"is missing: the report says {_written(said)}" if any(said.values()) else None
    return _stale(row, said, found.report_revision)


def _stale(row: GroupRow, said: Mapping[str, Number], revision: int) -> str | None:
    if not row.final:
        return f"is not final, though revision {revision} has been published"
    if row.now != said:
        return f"is {_written(row.now)}, the report says {_written(said)}"
    if row.revision != revision:
        return f"is of revision {row.revision}, and {revision} has been published"
    return None


def _notes(wrong: Mapping[str, str]) -> Iterator[str]:
    shown = list(wrong.items())[:_MOST_GROUPS]
    yield from (f"{group} {fault}" for group, fault in shown)
    if more := len(wrong) - len(shown):
        yield f"{more} more"


def _written(numbers: Mapping[str, Number]) -> str:
    return ", ".join(f"{column} {number}" for column, number in numbers.items())
