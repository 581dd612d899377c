"""What a person says of alerts: not to be told of one for a while."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from etar.alerts.rules import RulesError, duration, read_rules
from etar.alerts.states import Silence
from etar.settings import AlertRuleSettings
from etar.streams import UnknownStreamError, stream_named

if TYPE_CHECKING:
    import psycopg

LONGEST = timedelta(days=30)

INSERT_SILENCE = """
    INSERT INTO alert_silences (alert, stream, begun_at, until, why, "by")
    VALUES (%(alert)s, %(stream)s, %(begun_at)s, %(until)s, %(why)s, %(by)s)
"""
LIFT_SILENCES = """
    UPDATE alert_silences SET lifted_at = %(now)s
    WHERE alert = %(alert)s AND stream IS NOT DISTINCT FROM %(stream)s AND lifted_at IS NULL AND until > %(now)s
"""
_NOW = 'SELECT alert, stream, begun_at, until, why, "by" FROM alert_silences WHERE lifted_at IS NULL AND until > %s'


class UnfitSilenceError(Exception):
    """A silence that would silence nothing, or for ever: ``part`` is what does not fit, and the message says why."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


def wanted(
    alert: str, *, stream: str | None, time: str, why: str, by: str, settings: AlertRuleSettings, now: datetime
) -> Silence:
    """The silence that somebody asks for, from now on and for the ``time`` that is written like ``2h``. A name that is
    misspelt would silence nothing, and nobody would know.

    Raises:
        UnfitSilenceError: there is no such rule or stream, the time is none or too long, or nothing says why.
    """
    try:
        length = duration(time)
    except ValueError as error:
        raise UnfitSilenceError("for", str(error)) from error
    if not timedelta(0) < length <= LONGEST:
        raise UnfitSilenceError("for", f"{time} is not between a second and {LONGEST.days} days")
    if not why.strip():
        raise UnfitSilenceError("why", "it is empty: say it for whoever looks meanwhile")
    try:
        names = [each.alert for each in read_rules(settings.rules_file)]
    except RulesError as error:
        raise UnfitSilenceError("alert", str(error)) from error
    if alert not in names:
        raise UnfitSilenceError("alert", f"there is no rule {alert!r}; there are {', '.join(names)}")
    try:
        if stream is not None:
            stream_named(stream)
    except UnknownStreamError as error:
        raise UnfitSilenceError("stream", str(error)) from error
    return Silence(alert=alert, stream=stream, begun_at=now, until=now + length, why=why.strip(), by=by)


def silences(connection: psycopg.Connection[Any], now: datetime) -> tuple[Silence, ...]:
    """Those that hold."""
    from psycopg.rows import dict_row

    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(Silence.model_validate(row) for row in cursor.execute(_NOW, (now,)).fetchall())


def silence(connection: psycopg.Connection[Any], made: Silence) -> None:
    """Silence an alert. One that is silenced already is so until the later of both ends."""
    connection.execute(INSERT_SILENCE, made.model_dump())


def lift(connection: psycopg.Connection[Any], alert: str, *, stream: str | None, now: datetime) -> int:
    """End the silences of an alert that were made for just this stream, or for all of them; returns how many."""
    return connection.execute(LIFT_SILENCES, {"alert": alert, "stream": stream, "now": now}).rowcount
