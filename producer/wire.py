"""From an event to the bytes that Kafka holds: Avro in Confluent's wire format, keyed by user."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError, Serializer

from etar.settings import RegistrySettings
from etar.streams import subject_of
from producer.user_event import SCHEMA_TEXT, UserEvent
from producer.waiting import AwayError

_TIMEOUT_SECONDS = 5.0
_DIFFERENCE = re.compile(r"(?P<what>\[[^\[\]]*\]|[^,\[\]]+) at (?P<path>/[\w/]*)")
_NOBODY = UUID(int=0)
_ANY_EVENT = UserEvent(_NOBODY, _NOBODY, _NOBODY, "view", "success", 0, None, None, None, "unknown", "unknown")


class SchemaRefusedError(RuntimeError):
    """The registry is there and does not take the schema."""


class UuidSerializer(Serializer):  # type: ignore[misc]
    """A UUID as its 16 bytes, in network order."""

    def __call__(self, obj: UUID | None, ctx: SerializationContext | None = None) -> bytes | None:  # noqa: ARG002
        if obj is None:
            return None
        if not isinstance(obj, UUID):
            raise SerializationError(f"a key has to be a UUID, not {obj!r}")
        return obj.bytes


def open_serializer(settings: RegistrySettings, topic: str) -> Callable[[UserEvent], bytes]:
    """Register the schema under ``<topic>-value`` and return what encodes an event with it.

    Raises:
        AwayError: the registry cannot be reached or is not ready; worth trying again.
        SchemaRefusedError: it answered, and refused the schema.
    """
    # Here: a third of a second of CPU, which a run's own process and `etar produce --help` need not pay.
    from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
    from confluent_kafka.schema_registry.avro import AvroSerializer

    # The client raises the HTTP library's own connection errors, and picks between httpx and httpx2 here.
    from confluent_kafka.schema_registry.common._httpx_compat import httpx

    client = SchemaRegistryClient({"url": settings.url, "timeout": _TIMEOUT_SECONDS, "max.retries": 0})
    serializer = AvroSerializer(
        client,
        SCHEMA_TEXT,
        to_dict=lambda event, _context: event._asdict(),
        conf={"subject.name.strategy.type": "TOPIC"},
    )
    subject = subject_of(topic)
    context = SerializationContext(topic, MessageField.VALUE)
    try:
        # The first event registers the schema; the id is remembered, and a registry that goes away later stops nothing.
        serializer(_ANY_EVENT, context)
    except httpx.TransportError as error:
        raise AwayError(f"schema registry at {settings.url} cannot be reached ({error})") from error
    except SchemaRegistryError as error:
        if error.http_status_code >= 500 or error.http_status_code in (408, 429):
            raise AwayError(f"schema registry at {settings.url} is not ready ({error})") from error
        if error.http_status_code == 409:
            what = differences(error.error_message, SCHEMA_TEXT)
            raise SchemaRefusedError(
                f"the registry at {settings.url} does not take streams/user_interactions/schema.avsc under {subject}: "
                f"incompatible schema, {what}. Who reads with it could not read the events that are there. "
                "A new field needs a default (null, as a rule); a field that is there may not get a narrower or other "
                "type, nor an enum fewer symbols. See docs/schema-evolution.md."
            ) from error
        if error.http_status_code == 422:
            raise SchemaRefusedError(
                f"the registry at {settings.url} does not take streams/user_interactions/schema.avsc under {subject}: "
                f"it is not valid Avro ({error.error_message}). A default must fit the type, that of a union its first "
                "type."
            ) from error
        raise SchemaRefusedError(
            f"the registry at {settings.url} did not register {subject}: {error}. "
            "Check that ETAR_REGISTRY_URL names its Confluent API."
        ) from error
    return lambda event: serializer(event, context)


def header_of(serialize: Callable[[UserEvent], bytes]) -> bytes:
    """What stands before the Avro of every record: the magic byte 0 and the schema's id."""
    return serialize(_ANY_EVENT)[:5]


def event_of(value: bytes) -> UserEvent:
    """The event of a record's value that was encoded with this schema."""
    import fastavro

    fields: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), _parsed_schema(), None)
    return UserEvent(**fields | {"event_time": int(fields["event_time"].timestamp() * 1000)})


@cache
def _parsed_schema() -> Any:
    import fastavro

    return fastavro.parse_schema(json.loads(SCHEMA_TEXT))


def differences(message: str, schema: str) -> str:
    """What a registry found incompatible, with its paths (``/fields/3/type``) turned into the schema's field names.

    A message without paths is returned as it is.
    """
    fields = json.loads(schema)["fields"]
    found = []
    for difference in _DIFFERENCE.finditer(message):
        what, path = difference["what"].strip(), difference["path"].split("/")[1:]
        if path[0] != "fields":
            found.append(f"{what} at {difference['path']}")
            continue
        name = fields[int(path[1])]["name"]
        if path[2:] == []:
            found.append(f"the new field {name!r} has no default")
        elif path[-1] == "symbols":
            found.append(f"the field {name!r} lacks the symbols {what}")
        else:
            found.append(f"the field {name!r}: {what}")
    return "; ".join(found) or message
