"""The live windows of a stream: what a window comes to while it fills, beside what its minute's report makes of it.

A job of the stream keeps them in a table of the report store, which the stream's definition names
(:class:`etar.streams.Windows`). What is here is the question and the answer; who asks has a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from etar.page import Form
from etar.streams import Windows

if TYPE_CHECKING:
    from psycopg.sql import Composed

Number = int | Decimal
"""Counts, and exact amounts, which JSON has as texts."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Compared(_Answer):
    """One number: ``now`` is what holds, ``streamed`` what the job said."""

    now: Number
    streamed: Number

    @computed_field(description="now - streamed: what only the report knows")  # type: ignore[prop-decorator]
    @property
    def difference(self) -> Number:
        return self.now - self.streamed

    @classmethod
    def sum(cls, of: Iterable[Compared]) -> Compared:
        """Of all; of none 0."""
        now: Number = 0
        streamed: Number = 0
        for each in of:
            now, streamed = now + each.now, streamed + each.streamed
        return cls(now=now, streamed=streamed)


class GroupOfWindow(_Answer):
    """One group of a window; ``values`` by their columns."""

    final: bool
    revision: int | None
    values: Mapping[str, Compared]


class LiveWindow(_Answer):
    """One window, ``[start, end)``. Without a report of its minute it is as the job has it, and may still change."""

    start: AwareDatetime
    end: AwareDatetime
    final: bool = Field(description="Whether each number is its minute's report's")
    revision: int | None = Field(description="Of that report; null while the window is not final")
    updated_at: AwareDatetime
    groups: Mapping[str, GroupOfWindow]
    totals: Mapping[str, Compared]


class ShownValue(_Answer):
    """What a number of the windows is called, and how it is written."""

    column: str
    title: str
    form: Form


class StreamWindows(_Answer):
    """The newest windows of a stream, oldest first, and what their numbers are."""

    stream: str
    title: str
    by: str
    groups: tuple[str, ...] = Field(description="All that a window here has, and those that are always shown")
    values: tuple[ShownValue, ...]
    windows: tuple[LiveWindow, ...]

    @classmethod
    def of(cls, stream: str, declared: Windows, rows: Iterable[Mapping[str, Any]]) -> Self:
        """From rows as :func:`newest` answers them."""
        windows = tuple(_windows(declared, rows))
        others = {name for window in windows for name in window.groups} - {*declared.groups}
        return cls(
            stream=stream,
            title=declared.title,
            by=declared.by,
            groups=(*declared.groups, *sorted(others)),
            values=tuple(ShownValue(column=v.column, title=v.title, form=v.form) for v in declared.values),
            windows=windows,
        )


def newest(windows: Windows, *, of_group: bool = False) -> Composed:
    """The statement that asks for the newest ``limit`` windows that begin in ``[start, end)``, oldest first.

    Bound parameters: ``limit``; ``start`` and ``end``, null for no bound; with ``of_group`` also ``group``, and windows
    without that group count as none. Each of its looks goes by the primary key.
    """
    from psycopg.sql import SQL, Identifier

    columns = [name for value in windows.values for name in (value.column, value.streamed)]
    return SQL("""
        SELECT window_start, window_end, {by}::text AS "group", final, revision, updated_at, {columns}
        FROM (
            SELECT DISTINCT window_start FROM {table}
            WHERE window_start >= coalesce(%(start)s::timestamptz, '-infinity')
              AND window_start < coalesce(%(end)s::timestamptz, 'infinity') {only}
            ORDER BY window_start DESC LIMIT %(limit)s
        ) AS newest
        JOIN {table} USING (window_start)
        WHERE true {only}
        ORDER BY window_start, {by}
    """).format(
        by=Identifier(windows.by),
        table=Identifier(windows.table),
        columns=SQL(", ").join(map(Identifier, columns)),
        only=SQL("AND {} = %(group)s").format(Identifier(windows.by)) if of_group else SQL(""),
    )


def _windows(declared: Windows, rows: Iterable[Mapping[str, Any]]) -> Iterator[LiveWindow]:
    def start_of(row: Mapping[str, Any]) -> datetime:
        return row["window_start"]  # type: ignore[no-any-return]

    for start, of_window in groupby(rows, key=start_of):
        found = list(of_window)
        groups = {
            row["group"]: GroupOfWindow(
                final=row["final"],
                revision=row["revision"],
                values={
                    value.column: Compared(now=row[value.column], streamed=row[value.streamed])
                    for value in declared.values
                },
            )
            for row in found
        }
        final = all(group.final for group in groups.values())
        yield LiveWindow(
            start=start,
            end=max(row["window_end"] for row in found),
            final=final,
            revision=max((group.revision or 0 for group in groups.values()), default=0) or None if final else None,
            updated_at=max(row["updated_at"] for row in found),
            groups=groups,
            totals={
                value.column: Compared.sum(group.values[value.column] for group in groups.values())
                for value in declared.values
            },
        )
