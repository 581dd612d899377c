"""The event that is sent: its Avro schema, and the same as a Python value."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple
from uuid import UUID

SCHEMA_TEXT = files("producer").joinpath("user_event_schema.avsc").read_text(encoding="utf-8")

STATUSES = ("success", "error")


class UserEvent(NamedTuple):
    """One event; field by field what ``user_event_schema.avsc`` describes (a test compares the two).

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
