"""How a record names the schema it was written with: in front of its value, or in its headers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from etar.dead_letters import Reason
from etar.records.record import BadRecordError, Record

_MAGIC = b"\0"
HEADER_BYTES = 5
"""Confluent's wire format: a zero byte, then the schema id in four, then the body."""

APICURIO_BYTES = 9
"""Apicurio's older one: a zero byte, then an id in eight. No id of the other begins with four zero bytes."""

IN_HEADER = " in the record's header "
"""In the detail of a letter: its value begins with its body, and its schema is named in a header that Kafka holds."""

_CONFLUENT_HEADER = "__value_schema_id"
_CONTENT_ID, _GLOBAL_ID, _ENCODING = (f"apicurio.value.{name}" for name in ("contentId", "globalId", "encoding"))

SchemaId = int | UUID
"""How a record names its writer's schema: the registry's number, or its GUID."""

OWN_SCHEMA = 0
"""Stands for the stream's own schema, where its records name none: an id that no registry gives."""


Frame = tuple[SchemaId, int, str | None]
"""How a record names the schema it was written with, where in its value the body begins, and in which header it
says so, if in one. (A plain tuple, as there is one for every record.)"""


def named(identifier: SchemaId, header: str | None) -> str:
    """The schema that a record names, in words."""
    if identifier == OWN_SCHEMA:
        return "the stream's schema"
    kind = "GUID" if isinstance(identifier, UUID) else "id"
    return f"schema {kind} {identifier}{f'{IN_HEADER}{header}' if header else ''}"


def registered_frame(record: Record, value: bytes, malformed: Reason) -> Frame:
    """How the record names a schema of the registry.

    Args:
        malformed: the reason of a letter that names none.

    Raises:
        BadRecordError: the record names no schema, or not in a way that a registry's Confluent API can answer.
    """
    if record.headers and (frame := _frame_in(dict(record.headers), malformed)):
        return frame
    identifier = schema_id_of(value)
    if identifier is not None:
        return identifier, HEADER_BYTES, None
    if apicurio := apicurio_id_of(value):
        raise BadRecordError(
            Reason.UNSUPPORTED_SCHEMA,
            f"schema id {apicurio} in Apicurio's eight bytes, which do not say whether it is a global or a content id; "
            "its serializer writes what is read here with apicurio.registry.as-confluent (and use-id=contentId)",
        )
    start = f"{len(value)} bytes, starting with {value[:8].hex(' ')}"
    raise BadRecordError(malformed, f"no Confluent header (00, then 4 bytes of schema id): {start}")


def _frame_in(headers: Mapping[str, bytes | None], malformed: Reason) -> Frame | None:
    """As Confluent's and Apicurio's serializers name a schema in a record's headers; the value is the body alone."""
    named = headers.get(_CONFLUENT_HEADER) or b""
    if named[:1] == b"\1" and len(named) == 17:
        return UUID(bytes=named[1:]), 0, _CONFLUENT_HEADER
    if named[:1] == _MAGIC and len(named) == HEADER_BYTES:
        return int.from_bytes(named[1:], "big"), 0, _CONFLUENT_HEADER
    for name in (_CONTENT_ID, _GLOBAL_ID):
        number = headers.get(name) or b""
        if len(number) != 8:
            continue
        where = f"schema id {int.from_bytes(number, 'big')}{IN_HEADER}{name}"
        if malformed is Reason.NOT_AVRO and (headers.get(_ENCODING) or b"BINARY") != b"BINARY":
            raise BadRecordError(Reason.UNSUPPORTED_SCHEMA, f"{where}: Avro as JSON, and not as its binary encoding")
        if name == _GLOBAL_ID:
            raise BadRecordError(
                Reason.UNSUPPORTED_SCHEMA,
                f"{where}: the registry is asked by content ids; its serializer names these with use-id=contentId",
            )
        return int.from_bytes(number, "big"), 0, name
    return None


def schema_id_of(value: bytes | None) -> int | None:
    """The schema id in a value's Confluent header; None where there is no such header. No registry gives the id 0."""
    if value is None or len(value) < HEADER_BYTES or value[:1] != _MAGIC:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big") or None


def apicurio_id_of(value: bytes) -> int | None:
    """The id in Apicurio's eight bytes; None where a value does not begin with them."""
    if len(value) < APICURIO_BYTES or any(value[:HEADER_BYTES]):
        return None
    return int.from_bytes(value[HEADER_BYTES:APICURIO_BYTES], "big") or None


def with_header(schema_id: int, body: bytes) -> bytes:
    """A value in Confluent's wire format."""
    return _MAGIC + schema_id.to_bytes(HEADER_BYTES - 1, "big") + body
