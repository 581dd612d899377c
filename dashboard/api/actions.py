"""What operators do, each with the row that says who did it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dashboard.api.metrics import METRICS
from etar.alerts.silences import INSERT_SILENCE, LIFT_SILENCES
from etar.alerts.states import Silence

_DONE = "done"


class Action(NamedTuple):
    """What somebody asks for: the name of the token, what to do, with what, and how."""

    token: str
    action: str
    subject: str
    parameters: Mapping[str, Any]


class OperatorAction(BaseModel):
    """What somebody asked for, and what came of it."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    token: str = Field(description="Name of the operator's token")
    action: str = Field(description="`silence` or `unsilence`")
    subject: str = Field(description="Name of the alert")
    parameters: dict[str, Any]
    outcome: str = Field(description="`done`, or `refused: ` and why")


_COLUMNS = ", ".join(OperatorAction.model_fields)

_INSERT = """
    INSERT INTO operator_actions (token, action, subject, parameters, outcome)
    VALUES (%(token)s, %(action)s, %(subject)s, %(parameters)s, %(outcome)s)
"""

_BETWEEN = f"""
    SELECT {_COLUMNS} FROM (
        SELECT id, {_COLUMNS} FROM operator_actions
        WHERE at >= coalesce(%(start)s::timestamptz, '-infinity') AND at < coalesce(%(end)s::timestamptz, 'infinity')
        ORDER BY at DESC FETCH FIRST %(limit)s ROWS WITH TIES
    ) AS newest
    ORDER BY at, id
"""


async def silence(connection: AsyncConnection[Any], made: Silence, action: Action) -> None:
    """Silence an alert, and write down who did. Committed on return."""
    async with connection.transaction():
        await connection.execute(INSERT_SILENCE, made.model_dump())
        await _keep(connection, action, _DONE)


async def lift_silences(connection: AsyncConnection[Any], action: Action, *, stream: str | None, now: datetime) -> int:
    """End the silences of an alert that were made for just this stream, or for all of them, and write down who did;
    returns how many. Committed on return."""
    async with connection.transaction():
        parameters = {"alert": action.subject, "stream": stream, "now": now}
        lifted = (await connection.execute(LIFT_SILENCES, parameters)).rowcount
        await _keep(connection, action, _DONE if lifted else "refused: it is not silenced")
    return lifted


async def refuse(connection: AsyncConnection[Any], action: Action, why: str) -> None:
    """Write down that somebody wanted what cannot be. Committed on return."""
    async with connection.transaction():
        await _keep(connection, action, f"refused: {why}")


async def between(
    connection: AsyncConnection[Any], start: datetime | None, end: datetime | None, limit: int
) -> list[OperatorAction]:
    """The newest ``limit`` actions in ``[start, end)``, oldest first; and those of the same instant as the first of
    them, so that none is between two pages."""
    async with connection.cursor(row_factory=class_row(OperatorAction)) as cursor:
        with METRICS.query():
            await cursor.execute(_BETWEEN.encode(), {"start": start, "end": end, "limit": limit})
            return await cursor.fetchall()


async def _keep(connection: AsyncConnection[Any], action: Action, outcome: str) -> None:
    parameters = {**action._asdict(), "parameters": Jsonb(dict(action.parameters)), "outcome": outcome}
    await connection.execute(_INSERT, parameters)
