"""The schema and what the code takes for granted about it."""

from __future__ import annotations

import json
from typing import Any

import fastavro

from etar.streams import default_stream
from streams.user_interactions.event import EVENT_TYPES, STATUSES
from tests.user_events import UserEvent

SCHEMA: dict[str, Any] = json.loads(default_stream().schema_text or "")
FIELDS = {field["name"]: field for field in SCHEMA["fields"]}


def test_the_schema_is_avro_and_has_the_fields_of_the_event_in_their_order() -> None:
    fastavro.parse_schema(SCHEMA)
    assert tuple(FIELDS) == UserEvent._fields


def test_logical_types_are_where_avro_looks_for_them() -> None:
    for name in ("event_id", "user_id", "session_id"):
        assert FIELDS[name]["type"] == {"type": "string", "logicalType": "uuid"}
    assert FIELDS["event_time"]["type"] == {"type": "long", "logicalType": "timestamp-millis"}


def test_event_types_and_statuses_are_those_of_the_report() -> None:
    assert tuple(FIELDS["event_type"]["type"]["symbols"]) == EVENT_TYPES
    assert tuple(FIELDS["status"]["type"]["symbols"]) == STATUSES


def test_every_field_is_documented_and_every_optional_one_defaults_to_null() -> None:
    assert all(field["doc"] for field in FIELDS.values())
    optional = {name for name, field in FIELDS.items() if isinstance(field["type"], list)}
    assert optional == {"product_id", "amount", "error_code"}
    assert all(FIELDS[name]["default"] is None for name in optional)
