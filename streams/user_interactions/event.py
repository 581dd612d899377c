"""The event: its Avro schema, and the same as a Python value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

FIELD_TYPES: Final[dict[str, Any]] = {
    field["name"]: field["type"]
    for field in json.loads(Path(__file__).with_name("schema.avsc").read_text(encoding="utf-8"))["fields"]
}
"""By field, in the schema's order."""

EVENT_TYPES: Final = tuple(FIELD_TYPES["event_type"]["symbols"])
STATUSES: Final = tuple(FIELD_TYPES["status"]["symbols"])


class UserEvent(NamedTuple):
    """One event; field by field what ``schema.avsc`` beside it describes (a test compares the two).

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
