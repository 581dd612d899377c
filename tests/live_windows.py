"""A stream with live windows for tests: its folder, its table in a report store, and rows as a job and a report leave
them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.page import Form
from etar.settings import ReportStoreSettings
from etar.streams import Windows, WindowValue
from tests.stream_folders import define

REPORT = """
from decimal import Decimal
from pydantic import Field
from etar.report import MinuteReport

class Report(MinuteReport):
    takings: dict[str, Decimal] = Field(default_factory=dict)
    rides: dict[str, int] = Field(default_factory=dict)
"""


def declared(table: str) -> Windows:
    """What :func:`define_rides` declares."""
    return Windows(
        table,
        "Rides by city",
        "city",
        (
            WindowValue("total", "streamed_total", "takings", "Takings", form=Form.DECIMAL),
            WindowValue("rides", "streamed_rides", "rides", "Rides"),
        ),
        ("Oslo", "Bergen"),
    )


def define_rides(folder: Path, stream: str, table: str, *, title: str = "Rides by city") -> None:
    """A stream with windows by city in ``table``."""
    definition = f"""
[stream]
name = "{stream}"
title = "Rides"
[event]
id = ["event_id"]
time = "event_time"
[windows]
table = "{table}"
title = "{title}"
by = "city"
groups = ["Oslo", "Bergen"]
values = [
    {{column = "total", streamed = "streamed_total", report = "takings", title = "Takings", form = "decimal"}},
    {{column = "rides", streamed = "streamed_rides", report = "rides", title = "Rides"}},
]
"""
    define(folder, stream, **{"stream.toml": definition, "report.py": REPORT})


def make_table(store: ReportStoreSettings, table: str) -> None:
    """As a folder's ``postgres/`` would, but for what a report does to it."""
    with report_store_connection(store) as connection:
        connection.execute(_of(_TABLE, table))


def keep(store: ReportStoreSettings, table: str, *rows: dict[str, Any]) -> None:
    """Rows of :func:`row` as they are, in place of what is there of the same window and city."""
    with report_store_connection(store) as connection, connection.cursor() as cursor:
        cursor.executemany(_of(_UPSERT, table), rows)


def row(
    window: MinuteWindow,
    city: str,
    total: str,
    rides: int,
    *,
    streamed: tuple[str, int] | None = None,
    revision: int | None = None,
    updated_at: datetime | None = None,
) -> dict[str, Any]:
    """What the job said, or with ``revision`` what that one of the report says where the job said ``streamed``."""
    streamed_total, streamed_rides = streamed or (total, rides)
    return {
        "start": window.start,
        "end": window.end,
        "city": city,
        "total": Decimal(total),
        "rides": rides,
        "streamed_total": Decimal(streamed_total),
        "streamed_rides": streamed_rides,
        "final": revision is not None,
        "revision": revision,
        "updated_at": updated_at or window.end,
    }


def many(store: ReportStoreSettings, table: str, *, windows: int, until: MinuteWindow, cities: Iterable[str]) -> None:
    """So many windows up to ``until``, each with every city, and the planner knows of them."""
    with report_store_connection(store) as connection:
        connection.execute(_of(_MANY, table), {"windows": windows, "until": until.start, "cities": list(cities)})
        connection.execute(_of("ANALYZE {table}", table))


_TABLE = """
    CREATE TABLE IF NOT EXISTS {table} (
        window_start timestamptz NOT NULL, window_end timestamptz NOT NULL, city text NOT NULL,
        total numeric(18,2) NOT NULL, rides bigint NOT NULL,
        streamed_total numeric(18,2) NOT NULL DEFAULT 0, streamed_rides bigint NOT NULL DEFAULT 0,
        final boolean NOT NULL DEFAULT false, revision integer, batch_id bigint,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (window_start, city)
    )
"""
_UPSERT = """
    INSERT INTO {table} (window_start, window_end, city, total, rides, streamed_total, streamed_rides, final, revision,
        updated_at)
    VALUES (%(start)s, %(end)s, %(city)s, %(total)s, %(rides)s, %(streamed_total)s, %(streamed_rides)s, %(final)s,
        %(revision)s, %(updated_at)s)
    ON CONFLICT (window_start, city) DO UPDATE SET total = excluded.total, rides = excluded.rides,
        streamed_total = excluded.streamed_total, streamed_rides = excluded.streamed_rides, final = excluded.final,
        revision = excluded.revision, updated_at = excluded.updated_at
"""
_MANY = """
    INSERT INTO {table} (window_start, window_end, city, total, rides)
    SELECT start, start + interval '1 minute', city, 10, 1
    FROM generate_series(%(until)s - (%(windows)s - 1) * interval '1 minute', %(until)s, interval '1 minute') AS start,
        unnest(%(cities)s::text[]) AS city
"""


def _of(statement: str, table: str) -> Composed:
    return SQL(statement).format(table=Identifier(table))
