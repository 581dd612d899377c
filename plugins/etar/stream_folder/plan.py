"""What a stream's folder and the running places differ in, and what ``etar bootstrap`` would do about it. Read-only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from etar.bootstrap.migrations import Migration, MigrationError, pending, stream_migrations
from etar.clients import trusted_certificates, warehouse_client
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.kafka.topic_settings import topic_faults
from etar.records.table import METADATA
from etar.settings import KafkaSettings, RegistrySettings, RetentionSettings, WarehouseSettings, get_settings
from etar.stream_folder.avro_fields import columns_of_schema, paths_of_schema
from etar.stream_folder.checks.fields import fields_of_schema, schema_file
from etar.stream_folder.engine import NoEngineError, RefusedError, own_database
from etar.stream_folder.guesses import GuessError
from etar.stream_folder.proposal import RESERVED, Proposed, nullable, unfit_name
from etar.stream_folder.table import add_columns
from etar.streams import RecordFormat, Stream, subject_of

_SECONDS = 10.0


class Standing(StrEnum):
    """How a place stands to the folder."""

    SAME = "as it is"
    CHANGES = "changes"
    """`etar bootstrap`, or the first record, will make it so."""
    TO_WRITE = "to write"
    """The folder itself lacks a file, whose text is given."""
    REFUSED = "refused"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Step:
    """What is to be said of one place. ``text``: of a file that is to be written, or several lines of detail."""

    place: str
    standing: Standing
    what: str
    text: str = ""


@dataclass(frozen=True)
class Places:
    """Whom to ask; each gives its settings when it is asked, which may say that there are none."""

    kafka: Callable[[], KafkaSettings]
    registry: Callable[[], RegistrySettings]
    warehouse: Callable[[], WarehouseSettings]

    @classmethod
    def of_environment(cls) -> Self:
        return cls(
            partial(get_settings, KafkaSettings),
            partial(get_settings, RegistrySettings),
            partial(get_settings, WarehouseSettings),
        )


def plan(stream: Stream, places: Places) -> list[Step]:
    """Every place's step, the folder's own first. A place that does not answer is named, and costs no other's."""
    return [
        *_fields_without_columns(stream),
        _asked(f"topic {stream.topic}", lambda: _topic(stream, places.kafka())),
        _asked(f"schema {subject_of(stream.topic)}", lambda: _schema(stream, places.registry)),
        _asked(f"table {stream.table}", lambda: _table(stream, places.warehouse())),
    ]


def _asked(place: str, ask: Callable[[], Step]) -> Step:
    try:
        return ask()
    except ValidationError as error:
        missing = ", ".join(str(part) for problem in error.errors() for part in problem["loc"])
        what = f"it could not be asked: {error.title} has no {missing}; give --dir the folder of a stack"
        return Step(place, Standing.NOT_ASKED, what)
    except Exception as error:  # each client has errors of its own, and a setting that is missing one more
        return Step(place, Standing.NOT_ASKED, f"it could not be asked: {' '.join(str(error).split()):.300}")


def _topic(stream: Stream, settings: KafkaSettings) -> Step:
    place = f"topic {stream.topic}"
    try:
        with TopicOffsets.connect(stream.topic, settings=settings, timeout=_SECONDS) as topic:
            partitions, found = len(topic.partitions()), topic.settings()
    except UnknownTopicError:
        return Step(place, Standing.CHANGES, f"is made, with {stream.partitions} partitions")
    except KafkaUnavailableError as error:
        return Step(place, Standing.NOT_ASKED, f"it could not be asked: {error}")
    faults = topic_faults(found, needed=get_settings(RetentionSettings).retention)
    told = "\n".join(fault.told_of(stream.topic) for fault in faults)
    if any(fault.refused for fault in faults):
        return Step(place, Standing.REFUSED, "has settings that cost records", told)
    if partitions > stream.partitions:
        what = f"has {partitions} partitions, and stream.toml says {stream.partitions}: Kafka takes none away; say so"
        return Step(place, Standing.REFUSED, what, told)
    if partitions < stream.partitions:
        what = (
            f"has {partitions} partitions, and stream.toml says {stream.partitions}: etar adds none to a topic that is "
            "there, as keys would move to others. Say what it has, or add them with Kafka's own command"
        )
        return Step(place, Standing.REFUSED, what, told)
    return Step(place, Standing.SAME, f"{partitions} partitions", told)


def _schema(stream: Stream, settings: Callable[[], RegistrySettings]) -> Step:
    subject = subject_of(stream.topic)
    place = f"schema {subject}"
    if stream.record is RecordFormat.JSON:
        return Step(place, Standing.SAME, "plain JSON has none in the registry: the folder's is held to")
    kind = "AVRO" if stream.record is RecordFormat.AVRO else "JSON"
    text = stream.schema_text or "{}"
    url = settings().url.rstrip("/") + "/"
    with httpx.Client(base_url=url, timeout=_SECONDS, verify=trusted_certificates()) as client:
        path = f"subjects/{quote(subject, safe='')}/versions"
        answer = client.get(f"{path}/latest")
        if answer.status_code == 404 and answer.json().get("error_code") in (40401, 40402):
            return Step(place, Standing.CHANGES, f"is registered from {schema_file(stream).name} with the first record")
        latest = answer.raise_for_status().json()
        if json.loads(latest["schema"]) == json.loads(text):
            return Step(place, Standing.SAME, f"version {latest['version']}")
        body = {"schema": text, "schemaType": kind}
        verdict = client.post(f"compatibility/{path}/latest?verbose=true", json=body).raise_for_status().json()
    differences = _differences(kind, latest["schema"], text)
    if not verdict["is_compatible"]:
        why = "\n".join(str(message) for message in verdict.get("messages") or ())
        what = (
            f"differs from version {latest['version']} ({differences}) so that records there are already could not be "
            "read by it: give a new field a default (Avro: and the type null), and keep the old ones as they were"
        )
        return Step(place, Standing.REFUSED, what, why)
    what = f"becomes version {latest['version'] + 1}: {differences}"
    return Step(place, Standing.CHANGES, what)


def _differences(kind: str, old: str, new: str) -> str:
    try:
        before, after = (set(_paths(kind, text)) for text in (old, new))
    except (GuessError, ValueError, AttributeError):
        return "its text"
    parts = [
        f"{sign} {', '.join(sorted(names))}" for sign, names in (("+", after - before), ("-", before - after)) if names
    ]
    return "; ".join(parts) or "the same fields, otherwise described"


def _paths(kind: str, text: str) -> Sequence[str]:
    if kind == "AVRO":
        return sorted(paths_of_schema(text))
    return list(json.loads(text).get("properties", {}))


def _table(stream: Stream, settings: WarehouseSettings) -> Step:
    place = f"table {stream.table}"
    migrations = stream_migrations(stream)
    with warehouse_client(settings, database="default", connect_timeout=5) as client:
        asked = {"database": settings.database, "table": stream.table}
        found = client.query(
            "SELECT name, type, default_kind FROM system.columns "
            "WHERE database = {database:String} AND table = {table:String} ORDER BY position",
            parameters=asked,
        ).result_rows
        applied: dict[str, str] = {}
        if client.command("EXISTS TABLE {database:Identifier}.schema_migrations", parameters=asked):
            rows = client.query(
                "SELECT name, checksum FROM {database:Identifier}.schema_migrations FINAL", parameters=asked
            ).result_rows
            applied = {str(row[0]): str(row[1]) for row in rows}
    try:
        missing = list(pending(migrations, applied))
    except MigrationError as error:
        return Step(place, Standing.REFUSED, str(error))
    files = ", ".join(each.name for each in missing)
    if not found:
        return Step(place, Standing.CHANGES, f"is made, by {files or ', '.join(each.name for each in migrations)}")
    here = {str(row[0]): str(row[1]) for row in found}
    wanted = _described(stream, migrations)
    added = [name for name in wanted if name not in here]
    other = [name for name in wanted if name in here and here[name] != wanted[name]]
    text = "\n".join(
        [f"+ {name} {wanted[name]}" for name in added]
        + [f"{name} is {here[name]}, and becomes {wanted[name]}" for name in other]
        + [f"{name} {here[name]} is in no file of sql/" for name in here if name not in wanted]
    )
    if missing:
        return Step(place, Standing.CHANGES, f"gets {files}", text)
    if added or other:
        what = "is not as its files say, which all were applied: put it right by hand, or write the next file"
        return Step(place, Standing.REFUSED, what, text)
    return Step(place, Standing.SAME, f"{len(here)} columns", text)


def _described(stream: Stream, migrations: Sequence[Migration]) -> dict[str, str]:
    """The table's columns as the folder's files make it."""
    with own_database() as database:
        for migration in migrations:
            for statement in migration.statements:
                database.run(statement)
        return {name: declared for name, declared, _ in database.describe(stream.table)}


def _fields_without_columns(stream: Stream) -> list[Step]:
    """Fields of the schema that no column takes yet: the next file of ``sql/``, ready to be written."""
    place = f"folder {stream.name}"
    if stream.like is not None:
        return []
    try:
        migrations = stream_migrations(stream)
        columns = _described(stream, migrations)
    except (MigrationError, RefusedError, NoEngineError) as error:
        return [Step(place, Standing.REFUSED, f"{error}; `etar stream check {stream.name}` says more")]
    new = [each for each in _columns_of(stream) if each.name not in columns]
    if not new:
        return []
    last = max(int(Path(each.name).name[:4]) for each in migrations)
    file = f"sql/{last + 1:04}_{new[0].name.replace('.', '_').lower()}{'_and_more' if len(new) > 1 else ''}.sql"
    what = f"{', '.join(each.name for each in new)}: no column takes it yet; write {file}"
    return [Step(place, Standing.TO_WRITE, what, add_columns(stream.table, new))]


def _columns_of(stream: Stream) -> list[Proposed]:
    """A column for each field of the schema that can have one; rows that are there have none of it, so it is null."""
    text = stream.schema_text or "{}"
    if stream.record is RecordFormat.AVRO:
        try:
            columns = columns_of_schema(text)[0]
        except GuessError:
            return []
        return [Proposed(each.name, nullable(each.declared)) for each in columns]
    known = fields_of_schema(stream) or set()
    return [
        Proposed(name, declared)
        for name, of in json.loads(text).get("properties", {}).items()
        if name in known
        and name not in RESERVED | METADATA.names
        and unfit_name((name,), {}) is None
        and isinstance(of, dict)
        and (declared := _declared(of)) is not None
    ]


def _declared(schema: Mapping[str, Any]) -> str | None:
    """The column of a JSON Schema's plain type; None: it has none, or several."""
    kinds = schema.get("type")
    plain = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind not in (None, "null")]
    if len(plain) != 1:
        return None
    if plain[0] == "string" and schema.get("format") in _FORMATS:
        return f"Nullable({_FORMATS[schema['format']]})"
    found = _PLAIN.get(plain[0])
    return f"Nullable({found})" if found else None


_PLAIN = {"string": "String", "integer": "Int64", "number": "Decimal(18, 2)", "boolean": "Bool"}
_FORMATS = {"uuid": "UUID", "date-time": "DateTime64(3, 'UTC')", "date": "Date"}
