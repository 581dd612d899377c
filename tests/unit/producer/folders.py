"""Folders of streams that tests bring with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etar.settings import StreamSettings
from etar.streams import Stream, catalogue

AVRO_FIELDS: list[dict[str, Any]] = [
    {"name": "payment", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "method", "type": {"type": "enum", "name": "Method", "symbols": ["card", "cash"]}},
    {"name": "customer", "type": "string"},
    {"name": "pieces", "type": "int", "default": 1},
    {"name": "weight", "type": ["null", "double"], "default": None},
    {"name": "gift", "type": ["null", "boolean"], "default": None},
    {"name": "due", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
    {"name": "opened", "type": ["null", {"type": "int", "logicalType": "time-millis"}], "default": None},
    {"name": "device", "type": ["null", {"type": "fixed", "name": "Device", "size": 16, "logicalType": "uuid"}]},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "counts", "type": {"type": "map", "values": "long"}, "default": {}},
    {
        "name": "place",
        "type": [
            "null",
            {
                "type": "record",
                "name": "Place",
                "fields": [{"name": "city", "type": "string"}, {"name": "zip", "type": ["null", "int"]}],
            },
        ],
        "default": None,
    },
]
AVRO_TOML = """
[topic]
key = {field = "customer", as = "utf8"}
compression = "zstd"
[event]
id = ["payment"]
time = "at"
[checks]
pieces = {min = "1", max = "100"}
"""

JSON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["ride", "at", "fare", "kind"],
    "properties": {
        "ride": {"type": "string", "format": "uuid"},
        "at": {"type": "string", "format": "date-time"},
        "fare": {"type": "number", "minimum": 0},
        "kind": {"enum": ["solo", "shared", 3]},
        "seats": {"type": ["integer", "null"]},
        "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "note": {"type": "string", "maxLength": 20},
        "from": {"$ref": "#/$defs/place"},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/place"}},
    },
    "$defs": {
        "place": {
            "type": "object",
            "required": ["lat"],
            "properties": {"lat": {"type": "number"}, "name": {"type": "string"}},
            "additionalProperties": False,
        }
    },
}
JSON_TOML = """
[record]
format = "json"
[event]
id = ["ride"]
time = "at"
time_as = "iso8601"
"""


def write_stream(folders: Path, name: str, toml: str, schema: object, **files: str) -> Path:
    """A folder with a definition, a schema and files of code, by the names of their modules; where it is."""
    folder = folders / name
    folder.mkdir(parents=True)
    (folder / "stream.toml").write_text(f'[stream]\nname = "{name}"\n{toml}')
    form = "json" if 'format = "json' in toml else "avsc"
    (folder / f"schema.{form}").write_text(json.dumps(schema))
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def stream_in(folders: Path, name: str) -> Stream:
    return catalogue(StreamSettings(streams_folders=str(folders))).named(name)


def avro_schema(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Payment", "fields": list(fields) or AVRO_FIELDS}


def payments(folders: Path, **files: str) -> Stream:
    """Payments as Avro; with code there is made-up traffic."""
    toml = AVRO_TOML + ("[traffic]\nrate = 7\n" if "traffic" in files else "")
    write_stream(folders, "payments", toml, avro_schema(), **files)
    return stream_in(folders, "payments")


def rides(folders: Path, *, form: str = "json", time_as: str = "iso8601", **changes: Any) -> Stream:
    """Rides as JSON; ``changes`` are of the schema's properties."""
    toml = JSON_TOML.replace('format = "json"', f'format = "{form}"').replace("iso8601", time_as)
    write_stream(folders, "rides", toml, JSON_SCHEMA | {"properties": JSON_SCHEMA["properties"] | changes})
    return stream_in(folders, "rides")
