"""How the alerts stand, for whoever looks: the API, `etar status`, `etar alerts`. The report store alone says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from etar.alerts.numbers import Sample
from etar.alerts.states import UNSEEN, Alert, AlertState, Silence

if TYPE_CHECKING:
    import psycopg

SELECT_ALERTS = """
    SELECT alert, labels, state, since, told_at, value, severity, summary, description, expr FROM alerts
"""

# A silence that holds now for the alert: of several the one that lasts longest.
SELECT_BOARD = f"""
    SELECT shown.*, to_jsonb(quiet) AS silence FROM ({SELECT_ALERTS}) AS shown
    LEFT JOIN LATERAL (
        SELECT alert, stream, begun_at, until, why, "by" FROM alert_silences AS each
        WHERE each.alert = shown.alert AND (each.stream IS NULL OR each.stream = shown.labels ->> 'stream')
          AND each.lifted_at IS NULL AND each.until > clock_timestamp()
        ORDER BY each.until DESC LIMIT 1
    ) AS quiet ON true
    ORDER BY shown.alert, shown.labels
"""

SELECT_LOOK = """
    SELECT extract(epoch FROM clock_timestamp() - looked_at)::float8 AS age, numbers, problems, targets FROM alert_look
"""


class ShownAlert(Alert):
    """An alert, and the silence that it is under."""

    silence: Silence | None = None

    @property
    def speaks(self) -> bool:
        """Whether it fires and is not silenced."""
        return self.state is AlertState.FIRING and self.silence is None


class Look(BaseModel):
    """The newest look of the part `alerts`."""

    model_config = ConfigDict(frozen=True)

    age: float
    numbers: Sequence[tuple[str, dict[str, str], float]]
    problems: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def is_fresh(self) -> bool:
        return self.age < UNSEEN.total_seconds()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Its numbers; none of a look that is old, as they say nothing of now."""
        return tuple(Sample(*each) for each in self.numbers) if self.is_fresh else ()


class Board(BaseModel):
    """All that is known of the alerts. Without a look that is fresh nobody knows whether they stand so still."""

    model_config = ConfigDict(frozen=True)

    alerts: tuple[ShownAlert, ...] = Field(description="The firing ones first")
    targets: tuple[str, ...] = Field(description="Names of who is told; none: nobody is")
    problems: tuple[str, ...] = Field(description="What could not be asked, so that some alerts have no data")
    looked_seconds_ago: float | None = Field(description="null: nobody has looked yet")

    @classmethod
    def of(cls, alerts: Sequence[Mapping[str, Any]], look: Look | None) -> Self:
        """Of the rows of ``SELECT_BOARD``."""
        order = list(AlertState)
        found = sorted((ShownAlert.model_validate(row) for row in alerts), key=lambda each: order.index(each.state))
        return cls(
            alerts=tuple(found),
            targets=look.targets if look else (),
            problems=look.problems if look else (),
            looked_seconds_ago=look.age if look else None,
        )

    @property
    def is_known(self) -> bool:
        """Whether the alerts stand now as is said here."""
        return self.looked_seconds_ago is not None and self.looked_seconds_ago < UNSEEN.total_seconds()

    @property
    def why_not_known(self) -> str:
        if self.looked_seconds_ago is None:
            return "nobody has looked at the alerts yet; the part `alerts` does (`etar status`)"
        return (
            f"nobody has looked at the alerts for {self.looked_seconds_ago:.0f} s; the part `alerts` does "
            "(`etar status`, `etar logs alerts`)"
        )


def read_board(connection: psycopg.Connection[Any]) -> Board:
    """What the store says.

    Raises:
        psycopg.Error: it is away, or has no tables for alerts.
    """
    from psycopg.rows import dict_row

    with connection.cursor(row_factory=dict_row) as cursor:
        look = cursor.execute(SELECT_LOOK.encode()).fetchone()
        alerts = cursor.execute(SELECT_BOARD.encode()).fetchall()
    return Board.of(alerts, Look.model_validate(look) if look else None)
