"""The event, by its Avro schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FIELD_TYPES: Final[dict[str, Any]] = {
    field["name"]: field["type"]
    for field in json.loads(Path(__file__).with_name("schema.avsc").read_text(encoding="utf-8"))["fields"]
}
"""By field, in the schema's order."""

EVENT_TYPES: Final = tuple(FIELD_TYPES["event_type"]["symbols"])
STATUSES: Final = tuple(FIELD_TYPES["status"]["symbols"])
