"""What the places of a connector's file are filled with: settings and what is a stream's own, and none of it secret."""

from __future__ import annotations

from etar.settings import ConnectSettings, WarehouseAddress, get_settings
from etar.streams import RecordFormat, Stream, schema_fields

_CONCERNS = (WarehouseAddress, ConnectSettings)
_CONVERTERS = {
    RecordFormat.JSON: "org.apache.kafka.connect.json.JsonConverter",
    RecordFormat.JSON_REGISTERED: "io.confluent.connect.json.JsonSchemaConverter",
}


def variables(stream: Stream) -> dict[str, str]:
    """Every setting of the warehouse's address and of Kafka Connect by its variable, written as Kafka reads it; and
    what the sink of ``stream`` needs, as ``STREAM_…``."""
    settings = {
        kind.variables()[name]: _text(value)
        for kind in _CONCERNS
        for name, value in get_settings(kind).model_dump().items()
    }
    fields = schema_fields(stream)
    return settings | {
        "STREAM_CONNECTOR": stream.connector,
        "STREAM_TOPIC": stream.topic,
        "STREAM_LANDING_TABLE": stream.landing_table,
        "STREAM_DEAD_LETTER_TOPIC": stream.dead_letter_topic,
        "STREAM_CONVERTER": _CONVERTERS.get(stream.record, settings["ETAR_CONNECT_CONVERTER"]),
        "STREAM_FIELDS": ",".join(fields),
        "STREAM_REQUIRED_FIELDS": ",".join(name for name, field in fields.items() if field.is_required),
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
