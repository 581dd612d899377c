"""Events and records as the tests of the sink need them: good ones, to be spoiled one way at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import fastavro

from etar.records.record import Record
from etar.records.table import MetadataColumns, TableLayout

REPOSITORY = Path(__file__).parents[3]
CONNECTOR = REPOSITORY / "connect" / "sink.json"
SCHEMA_TEXT = (REPOSITORY / "streams" / "user_interactions" / "schema.avsc").read_text()
SCHEMA: dict[str, Any] = json.loads(SCHEMA_TEXT)
SCHEMA_ID = 7

APPENDED = datetime(2026, 11, 21, 10, 31, 30, tzinfo=UTC)
APPENDED_MS = int(APPENDED.timestamp() * 1000)

METADATA = MetadataColumns(topic="_topic", partition="_partition", offset="_offset", timestamp="_timestamp")
DESCRIBED = [
    ("event_id", "UUID", ""),
    ("user_id", "UUID", ""),
    ("session_id", "UUID", ""),
    ("event_type", "LowCardinality(String)", ""),
    ("status", "LowCardinality(String)", ""),
    ("event_time", "DateTime64(3, 'UTC')", ""),
    ("product_id", "Nullable(String)", ""),
    ("amount", "Nullable(Int64)", ""),
    ("error_code", "LowCardinality(Nullable(String))", ""),
    ("device", "LowCardinality(String)", ""),
    ("country", "LowCardinality(String)", ""),
    ("_topic", "LowCardinality(String)", ""),
    ("_partition", "Int32", ""),
    ("_offset", "Int64", ""),
    ("_timestamp", "DateTime64(3, 'UTC')", ""),
    ("event_minute", "DateTime('UTC')", "MATERIALIZED"),
]
"""What DESCRIBE TABLE says of ``user_interactions`` (an integration test asks the real one)."""

LAYOUT = TableLayout.of(DESCRIBED, database="etar", table="user_interactions", metadata=METADATA)

_NAMESPACE = UUID("5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11")


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A good event; ``number`` alone decides its identifiers."""
    return {
        "event_id": str(uuid5(_NAMESPACE, f"event {number}")),
        "user_id": str(uuid5(_NAMESPACE, f"user {number % 100}")),
        "session_id": str(uuid5(_NAMESPACE, f"session {number % 1000}")),
        "event_type": "purchase",
        "status": "success",
        "event_time": APPENDED_MS,
        "product_id": f"product-{number % 50}",
        "amount": 1_999,
        "error_code": None,
        "device": "mobile",
        "country": "DE",
        **changes,
    }


def encode(datum: Mapping[str, Any], *, schema: Mapping[str, Any] = SCHEMA, schema_id: int = SCHEMA_ID) -> bytes:
    """Confluent wire format. Values go in as they are: logical types are taken off, so that wrong ones fit, too."""
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(_plain(schema)), dict(datum))
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


def record(value: bytes | None, *, offset: int = 42, appended_ms: int = APPENDED_MS) -> Record:
    return Record("user_interactions", 3, offset, appended_ms, b"k" * 16, value)


def _plain(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _plain(part) for key, part in schema.items() if key != "logicalType"}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema
