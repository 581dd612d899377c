"""Whether the API can do its work."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from dashboard.api import queries
from dashboard.api.deps import Connection
from dashboard.api.problems import STORE_AWAY

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The API answers, and so does its report store."""

    status: Literal["ok"] = "ok"


@router.get("/health", summary="Whether the API and its report store work", responses=STORE_AWAY)
async def health(connection: Connection) -> Health:
    """Asks the report store for its table. Open: needs no token, and tells nothing but this."""
    await queries.check(connection)
    return Health()
