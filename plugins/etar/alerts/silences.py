"""What a person says of alerts: not to be told of one for a while."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from etar.alerts.states import Silence

if TYPE_CHECKING:
    import psycopg

_NOW = 'SELECT alert, stream, begun_at, until, why, "by" FROM alert_silences WHERE lifted_at IS NULL AND until > %s'


def silences(connection: psycopg.Connection[Any], now: datetime) -> tuple[Silence, ...]:
    """Those that hold."""
    from psycopg.rows import dict_row

    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(Silence.model_validate(row) for row in cursor.execute(_NOW, (now,)).fetchall())


def silence(
    connection: psycopg.Connection[Any],
    alert: str,
    *,
    stream: str | None,
    time: timedelta,
    why: str,
    by: str,
    now: datetime,
) -> Silence:
    """Silence an alert from now on. One that is silenced already is so until the later of both ends."""
    made = Silence(alert=alert, stream=stream, begun_at=now, until=now + time, why=why, by=by)
    connection.execute(
        'INSERT INTO alert_silences (alert, stream, begun_at, until, why, "by") VALUES (%s, %s, %s, %s, %s, %s)',
        (made.alert, made.stream, made.begun_at, made.until, made.why, made.by),
    )
    return made


def lift(connection: psycopg.Connection[Any], alert: str, *, stream: str | None, now: datetime) -> int:
    """End the silences of an alert that were made for just this stream, or for all of them; returns how many."""
    return connection.execute(
        "UPDATE alert_silences SET lifted_at = %(now)s "
        "WHERE alert = %(alert)s AND stream IS NOT DISTINCT FROM %(stream)s AND lifted_at IS NULL AND until > %(now)s",
        {"alert": alert, "stream": stream, "now": now},
    ).rowcount
