"""What the part `alerts` keeps in the report store, over one connection that it makes again when it is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Timer
from typing import TYPE_CHECKING, Any
from uuid import UUID

from etar.alerts.board import SELECT_ALERTS
from etar.alerts.numbers import Sample
from etar.alerts.states import Alert, Key, Kind, Notice
from etar.alerts.targets import Message
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings

if TYPE_CHECKING:
    import psycopg

_SECONDS = 10.0
"""For all that a look asks of the store. One that accepts and never answers is away, too."""

_LOCK_SECONDS = 2.0

_SESSION = {
    "application_name": "etar-alerts",
    # A connection that is lost on the way must not hold the lock for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_KEEP_ALERT = """
    INSERT INTO alerts (alert, labels, state, since, told_at, value, severity, summary, description, expr)
    VALUES (%(alert)s, %(labels)s, %(state)s, %(since)s, %(told_at)s, %(value)s, %(severity)s, %(summary)s,
            %(description)s, %(expr)s)
    ON CONFLICT (alert, labels) DO UPDATE SET
        state = excluded.state, since = excluded.since, told_at = excluded.told_at, value = excluded.value,
        severity = excluded.severity, summary = excluded.summary, description = excluded.description,
        expr = excluded.expr
"""

_KEEP_NOTICE = """
    INSERT INTO alert_notices (id, alert, labels, kind, severity, title, body, at)
    VALUES (%(id)s, %(alert)s, %(labels)s, %(kind)s, %(severity)s, %(title)s, %(body)s, %(at)s)
    ON CONFLICT (id) DO NOTHING
"""

_KEEP_DELIVERY = """
    INSERT INTO alert_deliveries (notice, target, begun_at, sent_at, given_up_at, problem)
    VALUES (%(notice)s, %(target)s, %(begun_at)s, %(sent_at)s, %(given_up_at)s, %(problem)s)
    ON CONFLICT (notice, target) DO UPDATE SET
        begun_at = excluded.begun_at, sent_at = excluded.sent_at, given_up_at = excluded.given_up_at,
        problem = excluded.problem
"""

_OPEN_DELIVERIES = """
    SELECT notice, target, title, body, CASE kind WHEN 'end' THEN 'over' ELSE severity END AS severity, at, begun_at,
        problem
    FROM alert_deliveries JOIN alert_notices ON alert_notices.id = notice
    WHERE sent_at IS NULL AND given_up_at IS NULL ORDER BY at, notice
"""

_KEEP_LOOK = """
    INSERT INTO alert_look (looked_at, numbers, problems, targets)
    VALUES (%(looked_at)s, %(numbers)s, %(problems)s, %(targets)s)
    ON CONFLICT (one) DO UPDATE SET
        looked_at = excluded.looked_at, numbers = excluded.numbers, problems = excluded.problems,
        targets = excluded.targets
"""

_DOUBT = "\n(It may be that you have this already: the process that sent it ended before it knew.)"


@dataclass
class Delivery:
    """A notice for one target. ``begun_at``: of a try whose end is not known."""

    notice: UUID
    target: str
    title: str
    body: str
    severity: str
    at: datetime
    begun_at: datetime | None = None
    sent_at: datetime | None = None
    given_up_at: datetime | None = None
    problem: str | None = None

    @classmethod
    def of(cls, notice: Notice, target: str) -> Delivery:
        severity = "over" if notice.kind is Kind.END else notice.alert.severity
        return cls(notice.id, target, notice.title, notice.body, severity, notice.at)

    @property
    def is_open(self) -> bool:
        return self.sent_at is None and self.given_up_at is None

    def message(self) -> Message:
        """What is sent; after a try whose end is not known it says so."""
        return Message(
            self.notice, self.target, self.title, self.body + (_DOUBT if self.begun_at else ""), self.severity
        )


@dataclass(frozen=True)
class Kept:
    """What the process before has left."""

    alerts: Mapping[Key, Alert]
    looked_at: datetime | None
    deliveries: Sequence[Delivery]


class Keeper:
    """The store, for the one process that evaluates alerts: it holds a lock that no second one gets."""

    def __init__(self, settings: ReportStoreSettings, *, seconds: float = _SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection, for some seconds at most: one that is silent is cut then.

        Raises:
            psycopg.Error: the store is away; the next time the connection is made anew.
            SecondProcessError: another process holds the lock.
        """
        import psycopg

        try:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            timer = Timer(self._seconds, _cut, [connection])
            timer.daemon = True
            timer.start()
            try:
                yield connection
            finally:
                timer.cancel()
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        connection = report_store_connection(self._settings)
        connection.autocommit = True
        bounded = {"statement_timeout": str(int(self._seconds * 1000))}
        for setting, value in (_SESSION | bounded).items():
            connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
        try:
            # Waited for: of a process that has just ended, PostgreSQL may not know yet.
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {int(_LOCK_SECONDS * 1000)}")
                connection.execute("SELECT pg_advisory_lock(hashtextextended('etar alerts', 0))")
        except psycopg.errors.LockNotAvailable as error:
            connection.close()
            raise SecondProcessError from error
        return connection


class SecondProcessError(Exception):
    """Another process evaluates the alerts of this store."""


def _cut(connection: psycopg.Connection[Any]) -> None:
    import psycopg

    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def load(connection: psycopg.Connection[Any]) -> Kept:
    """What the process before has left."""
    from psycopg.rows import class_row, dict_row

    with connection.transaction():
        with connection.cursor(row_factory=dict_row) as cursor:
            alerts = [Alert.model_validate(row) for row in cursor.execute(SELECT_ALERTS.encode()).fetchall()]
        looked = connection.execute("SELECT looked_at FROM alert_look").fetchone()
        with connection.cursor(row_factory=class_row(Delivery)) as open_ones:
            deliveries = open_ones.execute(_OPEN_DELIVERIES.encode()).fetchall()
    return Kept({alert.key: alert for alert in alerts}, looked[0] if looked else None, deliveries)


def save(
    connection: psycopg.Connection[Any],
    *,
    looked_at: datetime,
    alerts: Iterable[Alert],
    gone: Iterable[Alert],
    notices: Iterable[Notice],
    deliveries: Iterable[Delivery],
    samples: Iterable[Sample],
    problems: Sequence[str],
    targets: Sequence[str],
) -> None:
    """All of a look, or nothing. May be repeated."""
    from psycopg.types.json import Jsonb

    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            _KEEP_ALERT.encode(),
            [each.model_dump() | {"state": str(each.state), "labels": Jsonb(each.labels)} for each in alerts],
        )
        cursor.executemany(
            "DELETE FROM alerts WHERE alert = %s AND labels = %s", [(each.alert, Jsonb(each.labels)) for each in gone]
        )
        cursor.executemany(_KEEP_NOTICE.encode(), [_row(notice) for notice in notices])
        cursor.executemany(_KEEP_DELIVERY.encode(), [vars(each) for each in deliveries])
        numbers = [[each.name, dict(each.labels), each.value] for each in samples]
        cursor.execute(
            _KEEP_LOOK.encode(),
            {
                "looked_at": looked_at,
                "numbers": Jsonb(numbers),
                "problems": Jsonb(list(problems)),
                "targets": Jsonb(list(targets)),
            },
        )


def note(connection: psycopg.Connection[Any], deliveries: Iterable[Delivery]) -> None:
    """Write down how these are: begun, sent, failed or given up."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_KEEP_DELIVERY.encode(), [vars(each) for each in deliveries])


def _row(notice: Notice) -> dict[str, Any]:
    from psycopg.types.json import Jsonb

    return {
        "id": notice.id,
        "alert": notice.alert.alert,
        "labels": Jsonb(notice.alert.labels),
        "kind": str(notice.kind),
        "severity": notice.alert.severity,
        "title": notice.title,
        "body": notice.body,
        "at": notice.at,
    }
