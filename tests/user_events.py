"""Events of the first stream, one by one."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from etar.rows.blocks import Block, plain_values


class UserEvent(NamedTuple):
    """One event; field by field what the stream's ``schema.avsc`` describes (a test compares the two)."""

    event_id: UUID
    user_id: UUID
    session_id: UUID
    event_type: str
    status: str
    event_time: int
    """Milliseconds since the epoch, UTC."""
    product_id: str | None
    amount: int | None
    """Minor units."""
    error_code: str | None
    device: str
    country: str


def user_events(block: Block) -> list[UserEvent]:
    """The events of a block."""
    columns = [plain_values(block[name]) for name in UserEvent._fields]
    return list(map(UserEvent._make, zip(*columns, strict=True)))
