"""What the places of a connector's file are filled with: settings and what is a stream's own, and none of it secret."""

from __future__ import annotations

import json
from collections.abc import Iterator

from etar.settings import ConnectSettings, WarehouseAddress, get_settings
from etar.streams import RecordFormat, Stream

_CONCERNS = (WarehouseAddress, ConnectSettings)
_CONVERTERS = {
    RecordFormat.JSON: "org.apache.kafka.connect.json.JsonConverter",
    RecordFormat.JSON_REGISTERED: "io.confluent.connect.json.JsonSchemaConverter",
}


def variables(stream: Stream) -> dict[str, str]:
    """Every setting of the warehouse's address and of Kafka Connect by its variable, written as Kafka reads it; and
    what the sink of ``stream`` needs, as ``STREAM_…``."""
    settings = {
        f"{kind.model_config['env_prefix']}{name}".upper(): _text(value)
        for kind in _CONCERNS
        for name, value in get_settings(kind).model_dump().items()
    }
    fields = dict(_fields(stream))
    return settings | {
        "STREAM_CONNECTOR": stream.connector,
        "STREAM_TOPIC": stream.topic,
        "STREAM_LANDING_TABLE": stream.landing_table,
        "STREAM_DEAD_LETTER_TOPIC": stream.dead_letter_topic,
        "STREAM_CONVERTER": _CONVERTERS.get(stream.record, settings["ETAR_CONNECT_CONVERTER"]),
        "STREAM_FIELDS": ",".join(fields),
        "STREAM_REQUIRED_FIELDS": ",".join(name for name, required in fields.items() if required),
    }


def _fields(stream: Stream) -> Iterator[tuple[str, bool]]:
    """Each field of the stream's schema, and whether a record must have a value for it."""
    schema = json.loads(stream.schema_text or "{}")
    if stream.record is RecordFormat.AVRO:
        for field in schema.get("fields", []):
            kind = field["type"]
            yield field["name"], not (isinstance(kind, list) and "null" in kind)
    else:
        required = schema.get("required", [])
        for name in schema.get("properties", {}):
            yield name, name in required


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
