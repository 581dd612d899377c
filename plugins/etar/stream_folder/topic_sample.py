"""A sample of the records that a topic has already: Avro by the registry, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import fastavro

from etar.kafka.offsets import TopicOffsets, UnknownTopicError
from etar.kafka.records import TopicReader
from etar.offsets import Span
from etar.records.framing import HEADER_BYTES, schema_id_of
from etar.records.json_text import read_object
from etar.records.record import BadRecordError, Record
from etar.records.registry import RegisteredSchema, Registry
from etar.settings import KafkaSettings, RegistrySettings
from etar.stream_folder.sample import Sample, SampleError, as_json
from etar.streams import RecordFormat

_MOST_OF_A_PARTITION = 500


def read_topic(topic: str, kafka: KafkaSettings, registry: RegistrySettings) -> Sample:
    """The newest records of a topic. Nothing is committed.

    Raises:
        SampleError: there is no such topic, it has no records, or they are of no format that is known.
        KafkaUnavailableError: Kafka does not answer.
        RegistryUnavailableError: the registry does not answer.
    """
    records = list(_newest(topic, kafka))
    values = [record.value for record in records if record.value]
    if not values:
        raise SampleError(f"the topic {topic} has no records; send some, or give a file with --like")
    identifiers = [identifier for value in values if (identifier := schema_id_of(value)) is not None]
    if not identifiers:
        return _plain_json(topic, values)
    asked = Registry.connect(registry)
    try:
        schema = asked.schema(identifiers[-1])
    finally:
        asked.close()
    if schema is None:
        raise SampleError(f"the registry has no schema of the id {identifiers[-1]}, which records of {topic} name")
    framed = [value[HEADER_BYTES:] for value in values if schema_id_of(value) == identifiers[-1]]
    if schema.kind == "JSON":
        return _registered_json(topic, framed, skipped=len(values) - len(framed))
    return _avro(topic, schema, framed, skipped=len(values) - len(framed))


def _newest(topic: str, kafka: KafkaSettings) -> Iterator[Record]:
    try:
        with TopicOffsets.connect(topic, settings=kafka) as offsets:
            first, end = offsets.low(), offsets.stable_end()
    except UnknownTopicError as error:
        raise SampleError(f"there is no topic {topic} on {kafka.bootstrap_servers}") from error
    spans = {each: Span(max(first[each], end[each] - _MOST_OF_A_PARTITION), end[each]) for each in end}
    for message in TopicReader(topic, kafka).records(spans):
        yield Record.of(message)


def _plain_json(topic: str, values: Sequence[bytes]) -> Sample:
    records, bad = _objects(values)
    if not records:
        raise SampleError(
            f"the records of {topic} are neither JSON objects ({bad[0]}) nor behind a registry's header; "
            "these two are read here"
        )
    return Sample(tuple(records), RecordFormat.JSON, topic=topic, remarks=_remarks(bad))


def _registered_json(topic: str, bodies: Sequence[bytes], *, skipped: int) -> Sample:
    records, bad = _objects(bodies)
    if not records:
        raise SampleError(f"the records of {topic} are no JSON objects: {bad[0]}")
    return Sample(
        tuple(records), RecordFormat.JSON_REGISTERED, topic=topic, remarks=(*_remarks(bad), *_other_schemas(skipped))
    )


def _avro(topic: str, schema: RegisteredSchema, bodies: Sequence[bytes], *, skipped: int) -> Sample:
    if schema.references or schema.missing:
        raise SampleError(
            f"the schema of {topic} refers to others; write one .avsc with all of them in it, and give that with --like"
        )
    try:
        parsed = fastavro.parse_schema(json.loads(schema.text))
        records = [as_json(fastavro.schemaless_reader(BytesIO(body), parsed, None)) for body in bodies]
    except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
        raise SampleError(f"records of {topic} cannot be read by their own schema: {error!r:.200}") from error
    return Sample(
        tuple(each for each in records if isinstance(each, dict)),
        RecordFormat.AVRO,
        schema_text=schema.text,
        topic=topic,
        remarks=_other_schemas(skipped),
    )


def _objects(values: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    records, bad = [], []
    for value in values:
        try:
            records.append(read_object(value))
        except BadRecordError as error:
            bad.append(error.detail)
    return records, bad


def _remarks(bad: Sequence[str]) -> tuple[str, ...]:
    return (f"{len(bad)} records are no JSON objects and were left out: {bad[0]}",) if bad else ()


def _other_schemas(skipped: int) -> tuple[str, ...]:
    return (f"{skipped} records name another schema, or none, and were left out",) if skipped else ()
