"""What is known of one minute, as what the page lists: its steps, its counts, its objects, and its revisions side by
side. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from dashboard.ui.client import KnownMinute
from dashboard.ui.drawing import Shown
from dashboard.ui.times import IN_UTC, Clock
from etar.ledger import LedgerEntry, Stage
from etar.minute import MinuteWindow
from etar.page import in_words
from etar.pipeline.standing import Day, Standing
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM

NONE = "-"
"""For what is not known (yet), or is not there."""

Row = dict[str, str]
"""Of a table, by its columns."""

_NOT_AGAIN = (Standing.AHEAD, Standing.DUE, Standing.UNDER_WAY)
"""Their own run has yet to end: another would be in its way."""

_COUNTS: Mapping[str, tuple[str, str]] = {
    "received": ("Received", "Rows of the extract"),
    "unique_events": ("Unique", "Events in the report"),
    "duplicates": ("Duplicates", "Rows whose event was there already"),
    "late_events": ("Late", "Rows that arrived after the minute's end and grace"),
    "dead_letters": ("Dead letters", "Bad records that arrived in the minute"),
}


def counts(entry: LedgerEntry) -> list[Shown]:
    """The numbers of a minute, and its revision."""
    found = [
        Shown(column.replace("_", "-"), name, _number(getattr(entry, column)), about)
        for column, (name, about) in _COUNTS.items()
    ]
    return [*found, Shown("revision", "Revision", _number(entry.revision), "Newest revision reported")]


def steps(entry: LedgerEntry, clock: Clock = IN_UTC) -> list[Row]:
    """Every step in its order, begun or not: when it began, how long after the one before it, and what it took."""
    rows = []
    before: datetime | None = entry.window.end
    found = {stage: entry.stages.get(stage) for stage in Stage}
    here = clock.cells("Began", (times.started_at if times else None for times in found.values()), "%H:%M:%S")
    for (stage, times), began in zip(found.items(), here, strict=True):
        cost = times.cost if times else None
        ended = times.ended_at if times else None
        rows.append(
            {
                "Step": stage.value,
                **began,
                "Began (UTC)": f"{times.started_at:%H:%M:%S}" if times else NONE,
                "Waited": _seconds(before, times.started_at) if times else NONE,
                "Took": NONE if times is None else "not ended" if ended is None else _seconds(times.started_at, ended),
                "Rows": _number(cost.rows if cost else None),
                "Bytes": _number(cost.bytes if cost else None),
                "CPU": NONE if cost is None or cost.cpu_seconds is None else f"{cost.cpu_seconds:.2f} s",
            }
        )
        before = ended if times else before
    return rows


def objects(entry: LedgerEntry, report: PublishedReport | None) -> list[Row]:
    """Where the minute's data is, what it is made of, and by what it is known to be the same."""
    found = []
    if entry.object_key is not None:
        tag = entry.object_etag or NONE
        found.append({"What": "Extract", "Where": entry.object_key, "Bytes": _number(entry.object_size), "ETag": tag})
    if report is not None and report.source_object is not None:
        what = f"Source of revision {report.revision}"
        found.append({"What": what, "Where": report.source_object, "Bytes": NONE, "ETag": NONE})
    return found


def partitions(entry: LedgerEntry) -> list[Row]:
    """Which records of Kafka the extract has, and up to which offset settling waited."""
    offsets, settled = entry.offsets or {}, entry.settled_offsets or {}
    rows = []
    for partition in sorted(offsets.keys() | settled.keys()):
        span = offsets.get(partition)
        rows.append(
            {
                "Partition": str(partition),
                "First offset": _number(span.first if span else None),
                "Last offset": _number(span.last if span else None),
                "Rows": _number(span.rows if span else None),
                "Settled up to": _number(settled.get(partition)),
            }
        )
    return rows


@dataclass(frozen=True)
class Revisions:
    """Revisions side by side: a column each, and a row for each value. ``same``: rows that are left out, as every
    revision says the same there."""

    rows: Sequence[Row]
    same: int


def revisions(known: KnownMinute, *, everything: bool) -> Revisions:
    """The newest revisions, oldest first. What differs from the one before says by how much; with ``everything`` also
    what does not differ."""
    in_ledger = {entry.revision: entry for entry in known.history.revisions} if known.history else {}
    columns = [
        (f"Revision {each.revision}", dict(_values(each, in_ledger.get(each.revision)))) for each in known.reports
    ]
    names = dict.fromkeys(name for _, values in columns for name in values)
    rows, same = [], 0
    for name in names:
        values = [column.get(name) for _, column in columns]
        if len(columns) > 1 and not everything and all(value == values[0] for value in values):
            same += 1
            continue
        cells = [_cell(value, before) for value, before in zip(values, [values[0], *values], strict=False)]
        rows.append({"": name, **dict(zip((title for title, _ in columns), cells, strict=True))})
    return Revisions(rows, same)


def left_out(known: KnownMinute) -> str:
    """Which revisions are older than those that are shown, in words; empty where none are."""
    older = known.reports[0].revision - 1 if known.reports else 0
    return "" if older == 0 else f" · the newest {len(known.reports)}, {older} older ones are left out"


def run_address(run: str, airflow_url: str) -> str:
    """Where Airflow's UI has a run of the ledger, ``<dag id>/<run id>``."""
    dag, _, run_id = run.partition("/")
    return f"{airflow_url.rstrip('/')}/dags/{quote(dag, safe='')}/runs/{quote(run_id, safe='')}"


def run_again(day: Day, window: MinuteWindow) -> str | None:
    """The command that has a minute reported (again). None: its own run has yet to end, or its rows are gone."""
    place = day.windows.index(window)
    if place < day.reportable_from or day.standings[place] in _NOT_AGAIN:
        return None
    stream = "" if day.stream == DEFAULT_STREAM else f" --stream {day.stream}"
    return f"etar report --range {window} {window.next}{stream}"


def look_up(stream: str, window: MinuteWindow) -> str:
    """The command that prints the same."""
    return f"etar minutes {window}" + ("" if stream == DEFAULT_STREAM else f" --stream {stream}")


def _values(report: PublishedReport, entry: LedgerEntry | None) -> Iterator[tuple[str, Any]]:
    yield "Published (UTC)", f"{report.published_at:%Y-%m-%d %H:%M:%S}"
    yield "Run", entry.run_id.partition("/")[0] if entry and entry.run_id else None
    yield "Late", entry.late_events if entry else None
    yield "Dead letters", entry.dead_letters if entry else None
    content = {name: value for name, value in report.content.items() if name not in ("stream", "minute")}
    yield from _flat(content)


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{within} · {in_words(name)}" if within else in_words(name)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, path)
        elif isinstance(value, list) and value:
            yield from _flat({f"{at}": each for at, each in enumerate(value, start=1)}, path)
        else:
            yield path, value


def _cell(value: Any, before: Any) -> str:
    said = _written(value)
    if value == before:
        return said
    numbers = _exact(value), _exact(before)
    if numbers[0] is None or numbers[1] is None:
        return f"{said} (changed)"
    return f"{said} ({numbers[0] - numbers[1]:+,})"


def _written(value: Any) -> str:
    if value is None or value in ({}, []):
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _exact(value: Any) -> Decimal | None:
    """A number as it is written: also the texts that decimals are in JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _number(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _seconds(start: datetime | None, end: datetime) -> str:
    return NONE if start is None else f"{(end - start).total_seconds():.1f} s"
