"""The event that is sent: its Avro schema, and the same as a Python value."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from etar.streams import default_stream

SCHEMA_TEXT = default_stream().schema_text or ""

EVENT_TYPES = ("view", "click", "add_to_cart", "checkout", "purchase", "search")
STATUSES = ("success", "error")


class UserEvent(NamedTuple):
    """One event; field by field what ``streams/user_interactions/schema.avsc`` describes (a test compares the two).

    A named tuple and not a dataclass: one is made for every event, and it costs a quarter.
    """

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
