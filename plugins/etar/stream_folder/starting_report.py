"""The report that a new stream begins with: counts, sums of amounts and distinct values of its own columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from etar.stream_folder.proposal import Proposal
from etar.stream_folder.table import quoted

_MOST_FIGURES = 8
_BETWEEN = ",\n    "
_TAKEN = frozenset(
    ("rows_read", "total_events", "schema_version", "stream", "minute", "source_object", "revision", "published_at")
)
"""What the envelope has."""


@dataclass(frozen=True)
class Figure:
    """One figure of a report: its name, Spark's expression for it, and how it comes to be of a column's values."""

    name: str
    expression: str
    column: str
    kind: str


def figures(proposal: Proposal) -> list[Figure]:
    """Beside the counts of rows and events: what an event's columns suggest."""
    found: list[Figure] = []
    used = set(_TAKEN)
    for column in proposal.columns:
        if column.name == proposal.time or column.name in proposal.identity or len(found) >= _MOST_FIGURES:
            continue
        plain = re.sub(r"\W", "_", column.name).lower()
        name = quoted(column.name)
        if decimal := re.match(r"Decimal\((\d+), (\d+)\)", column.kind):
            figure = Figure(
                f"sum_of_{plain}",
                f"CAST(coalesce(sum({name}), 0) AS DECIMAL({min(38, int(decimal[1]) + 10)}, {decimal[2]}))",
                column.name,
                f"sum {decimal[2]}",
            )
            if int(decimal[1]) > 28:
                continue  # a sum of them may have more digits than Spark's decimals
        elif column.kind == "Bool":
            figure = Figure(f"with_{plain}", f"count_if({name})", column.name, "true")
        elif column.kind in ("String", "UUID") or (column.kind.endswith("Int64") and re.search(r"id$", plain)):
            figure = Figure(f"distinct_{plain}", f"count(DISTINCT {name})", column.name, "distinct")
        else:
            continue
        if figure.name not in used:
            used.add(figure.name)
            found.append(figure)
    return found


def report_sql(proposal: Proposal) -> str:
    """The file's text: one SELECT over the minute's events."""
    columns = [f"{each.expression} AS {each.name}" for each in figures(proposal)] or ["count(*) AS events"]
    return (
        "-- What a minute comes to: one SELECT of Spark SQL over events, the minute's rows with each event once. Each\n"
        "-- column is a field of the report; rows_read and total_events are counted anyway. A change of what it means\n"
        "-- gets another [report] version in stream.toml.\n"
        f"SELECT\n    {_BETWEEN.join(columns)}\nFROM events\n"
    )


def golden(proposal: Proposal, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the report says of these rows."""
    unique: dict[Any, Mapping[str, Any]] = {}
    for number, row in enumerate(rows):
        key = tuple(row[name] for name in proposal.identity) if proposal.identity else number
        unique.setdefault(key, row)
    made: dict[str, Any] = {"rows_read": len(rows), "total_events": len(unique)}
    own = figures(proposal)
    if not own:
        made["events"] = len(unique)
    for figure in own:
        values = [value for row in unique.values() if (value := row[figure.column]) is not None]
        if figure.kind == "distinct":
            made[figure.name] = len(set(values))
        elif figure.kind == "true":
            made[figure.name] = sum(values)
        else:
            scale = int(figure.kind.split()[1])
            made[figure.name] = f"{sum(map(Decimal, values), Decimal(0)).quantize(Decimal(1).scaleb(-scale)):f}"
    return made
