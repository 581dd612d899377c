"""A stream's schema in the registry: what its records are written under, and why a registry may refuse it."""

from __future__ import annotations

import json
import re

from etar.settings import RegistrySettings
from etar.streams import RecordFormat, Stream, subject_of
from producer.encoding import Encoding, header_of
from producer.waiting import AwayError

_TIMEOUT_SECONDS = 5.0
_DIFFERENCE = re.compile(r"(?P<what>\[[^\[\]]*\]|[^,\[\]]+) at (?P<path>/[\w/]*)")

_OF_AVRO = (
    "A new field needs a default (null, as a rule); a field that is there may not get a narrower or other type, nor an "
    "enum fewer symbols. See docs/schema-evolution.md."
)
_OF_JSON = (
    "A new field may not be required, nor of a name that other fields were allowed to have; a field that is there may "
    "not get a narrower type."
)


class SchemaRefusedError(RuntimeError):
    """The registry is there and does not take the schema."""


def open_encoding(settings: RegistrySettings, stream: Stream, topic: str | None = None) -> Encoding:
    """Register the stream's schema under ``<topic>-value`` and return what encodes its events with it.

    The id is remembered: a registry that goes away later stops nothing. Plain JSON has no use for a registry.

    Args:
        topic: in place of the stream's own.

    Raises:
        AwayError: the registry cannot be reached or is not ready; worth trying again.
        SchemaRefusedError: it answered, and refused the schema.
    """
    if stream.record is RecordFormat.JSON:
        return Encoding(stream)
    return Encoding(stream, header_of(_register(settings, stream, subject_of(topic or stream.topic))))


def _register(settings: RegistrySettings, stream: Stream, subject: str) -> int:
    """Id of the stream's schema."""
    # Here: a third of a second of CPU, which `etar produce --help` need not pay.
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

    # The client raises the HTTP library's own connection errors, and picks between httpx and httpx2 here.
    from confluent_kafka.schema_registry.common._httpx_compat import httpx

    client = SchemaRegistryClient({"url": settings.url, "timeout": _TIMEOUT_SECONDS, "max.retries": 0})
    text = stream.schema_text or ""
    avro = stream.record is RecordFormat.AVRO
    try:
        return client.register_schema(subject, Schema(text, "AVRO" if avro else "JSON"))  # type: ignore[no-any-return]
    except httpx.TransportError as error:
        raise AwayError(f"schema registry at {settings.url} cannot be reached ({error})") from error
    except SchemaRegistryError as error:
        if error.http_status_code >= 500 or error.http_status_code in (408, 429):
            raise AwayError(f"schema registry at {settings.url} is not ready ({error})") from error
        refused = f"the registry at {settings.url} does not take {_file_of(stream)} under {subject}:"
        if error.http_status_code == 409:
            what = differences(error.error_message, text) if avro else error.error_message
            raise SchemaRefusedError(
                f"{refused} incompatible schema, {what}. Who reads with it could not read the events that are there. "
                f"{_OF_AVRO if avro else _OF_JSON}"
            ) from error
        if error.http_status_code == 422:
            kind = "Avro" if avro else "JSON Schema"
            hint = " A default must fit the type, that of a union its first type." if avro else ""
            raise SchemaRefusedError(f"{refused} it is not valid {kind} ({error.error_message}).{hint}") from error
        raise SchemaRefusedError(
            f"the registry at {settings.url} did not register {subject}: {error}. "
            "Check that ETAR_REGISTRY_URL names its Confluent API."
        ) from error


def _file_of(stream: Stream) -> str:
    """Its schema's file, for a person who has to change it."""
    if stream.folder is None or stream.schema_name is None:
        return f"the schema of {stream.name}"
    return str(stream.folder / stream.schema_name)


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
