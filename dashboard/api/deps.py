"""What the routes ask for: a connection, a token of the right role, the time, a minute, a range, a stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import AfterValidator, BeforeValidator

from dashboard.api.problems import invalid
from dashboard.api.rates import Rates, TooManyRequestsError
from dashboard.api.security import EnvironmentTokens, Holder, MissingTokenError, WrongTokenError, require
from dashboard.api.token_book import TokenBook
from etar.api_tokens import Role
from etar.minute import MinuteWindow
from etar.streams import DEFAULT_STREAM

# A database that accepts connections but answers nothing must not hold requests for ever.
DATABASE_SECONDS = 8.0

_OF_ROLE = {
    Role.READER: "A reader's token, or an operator's: reads all there is, and changes nothing",
    Role.OPERATOR: "An operator's token: also silences alerts; each action is written down with the token's name",
    Role.WRITER: "A writer's token: publishes reports, and reads nothing",
}


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection of the pool, for a few seconds at most."""
    pool: AsyncConnectionPool[AsyncConnection[Any]] = app.state.pool
    async with asyncio.timeout(DATABASE_SECONDS), pool.connection() as connection:
        yield connection


async def _connection(request: Request) -> AsyncIterator[AsyncConnection[Any]]:
    async with connected(request.app) as connection:
        yield connection


async def _holder(app: FastAPI, presented: str) -> Holder | None:
    """Whose token it is. Those of the environment are good also while the report store is away."""
    environment: EnvironmentTokens = app.state.tokens
    if holder := environment.holder(presented):
        return holder
    book: TokenBook = app.state.token_book
    token = await book.find(presented)
    if token is None:
        return None
    await book.note_use(token)
    return Holder(token.name, token.role)


async def may_still_read(request: Request) -> bool:
    """Whether the token of a request that is being answered is good still: an answer may have no end. Not, where nobody
    knows; whoever listens comes again."""
    _, presented = get_authorization_scheme_param(request.headers.get("Authorization"))
    try:
        holder = await _holder(request.app, presented)
    except (psycopg.Error, PoolTimeout, TimeoutError):
        return False
    return holder is not None and holder.role.may(Role.READER)


def _requires(role: Role) -> Callable[..., Awaitable[None]]:
    scheme = HTTPBearer(scheme_name=f"{role}Token", description=_OF_ROLE[role], auto_error=False)

    # Not a plain function: for that, each request would wait for a thread.
    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(scheme)]
    ) -> None:
        presented = credentials.credentials if credentials else None
        holder = None if presented is None else await _holder(request.app, presented)
        address = request.client.host if request.client else ""
        rates: Rates = request.app.state.rates
        try:
            # Before anything is said of the token: an address with too many refusals learns nothing more.
            await (rates.count(holder.name, address) if holder else rates.count_refusal(address))
            request.state.holder = require(role, presented, holder)
        except TooManyRequestsError as error:
            raise HTTPException(429, str(error), {"Retry-After": str(error.seconds)}) from error
        except MissingTokenError as error:
            raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from error
        except WrongTokenError as error:
            raise HTTPException(403, str(error)) from error

    return check


async def _asking(request: Request) -> Holder:
    holder: Holder = request.state.holder
    return holder


def _parse_instant(value: object) -> datetime:
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ValueError(
            f"{value!r} is not an instant with its time zone; write it like 2026-11-21T10:31Z (a + is %2B in a URL)"
        )
    return instant


async def _now() -> datetime:
    return datetime.now(UTC)


def _aligned(instant: datetime) -> datetime:
    return MinuteWindow(instant).start


def require_range(start: datetime | None, end: datetime | None) -> None:
    """Refuse a range that no minute can be in."""
    if start is not None and end is not None and start >= end:
        raise invalid(("query", "from"), f"from {start.isoformat()} is not before to {end.isoformat()}")


# `scope="function"`: the connection is back in the pool before a slow client has read its answer.
Connection = Annotated[AsyncConnection[Any], Depends(_connection, scope="function")]
MAY = {role: Depends(_requires(role)) for role in Role}
"""What a route has among its ``dependencies``: one of these, and a test says which routes have none."""
MayRead, MayOperate, MayWrite = MAY[Role.READER], MAY[Role.OPERATOR], MAY[Role.WRITER]
Asking = Annotated[Holder, Depends(_asking)]
"""Whose token it is, in a route that names its role."""
Instant = Annotated[datetime, BeforeValidator(_parse_instant)]
Minute = Annotated[Instant, AfterValidator(_aligned)]
RangeStart = Annotated[
    Instant | None,
    Query(alias="from", description="First instant of the range, inclusive", examples=["2026-11-21T10:00Z"]),
]
RangeEnd = Annotated[
    Instant | None, Query(alias="to", description="End of the range, exclusive", examples=["2026-11-21T11:00Z"])
]
Now = Annotated[datetime, Depends(_now)]
StreamName = Annotated[str, Query(min_length=1, max_length=200, description="Event stream", examples=[DEFAULT_STREAM])]
