"""Which streams there are: the folders of ``ETAR_STREAMS_FOLDERS``, each with what it defines or what is wrong with it.

A folder with a fault costs its own stream only: it is left out and named. Folders are looked at again at each call, and
read again when their files have changed, so that a new one needs no restart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from etar.errors import PermanentError
from etar.settings import StreamSettings, get_settings
from etar.streams.definition import DEFAULT_STREAM, RecordFormat, Stream
from etar.streams.faults import Fault, Rule
from etar.streams.schema_fields import fields_of_record
from etar.streams.stream_toml import (
    FILE_NAME,
    Definition,
    FaultyDefinitionError,
    LikeDefinition,
    read_definition,
)

_HOME = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
"""What a relative folder is relative to: the folder that has ``streams/``, also in an image."""

_SHARED_TABLES = ("dead_letters", "schema_migrations", "stored_topics")
"""Tables that all streams share (``sql/clickhouse``)."""

_STORE_TABLES = (
    "alert_deliveries",
    "alert_look",
    "alert_notices",
    "alert_silences",
    "alerts",
    "api_tokens",
    "audit_repairs",
    "audited_offsets",
    "audited_topics",
    "dead_letter_changes",
    "dead_letter_replays",
    "dead_letter_states",
    "former_logs",
    "minute_revisions",
    "minutes",
    "operator_actions",
    "replayed_records",
    "reports",
    "schema_migrations",
    "stage_costs",
    "stream_batches",
    "stream_job_progress",
)
"""Tables and views of the report store that no stream's windows can be in (``sql/postgres``)."""

PARTS_OF_THE_STACK = (
    "kafka", "kafka-2", "kafka-3", "registry", "warehouse", "s3", "postgres", "redis", "spark", "spark-master",
    "spark-worker", "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-worker-1",
    "airflow-worker-2", "sink", "connect", "connect-2", "connect-watch", "report-api", "dashboard", "alerts",
    "demo-producer",
)  # fmt: skip
"""Names that no job can have. Nor can one begin like a part of a stream: ``sink-``, ``demo-producer-``."""

_PARTS_OF_STREAMS = ("sink-", "demo-producer-", "topic-", "table-", "job-tables-")

_OWN_TOPICS = ("etar_connect_configs", "etar_connect_offsets", "etar_connect_status", "_schemas", "__consumer_offsets")
"""Topics that are no stream's."""


class UnknownStreamError(PermanentError):
    """No folder defines a stream of this name."""

    def __init__(self, name: str, catalogue: Catalogue) -> None:
        known = ", ".join(catalogue.streams) or "none"
        super().__init__(
            f"there is no stream {name!r} in {':'.join(map(str, catalogue.folders))} (there are: {known}); "
            "`etar stream list` shows the folders that were looked at"
        )


class StreamFaultError(PermanentError):
    """The stream has a folder, and the folder has faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True)
class Catalogue:
    """The streams of some folders: those that are sound, by name, and what is wrong with the others."""

    folders: tuple[Path, ...]
    streams: Mapping[str, Stream]
    faults: tuple[Fault, ...]
    wanted: tuple[str, ...] | None = None
    """Names that are switched on, ``("all",)`` for all of them; None: those that start by themselves."""

    def named(self, name: str) -> Stream:
        """The stream of this name.

        Raises:
            StreamFaultError: its folder has faults.
            UnknownStreamError: there is no such folder.
        """
        if (stream := self.streams.get(name)) is not None:
            return stream
        if own := [fault for fault in self.faults if fault.stream == name]:
            raise StreamFaultError(own)
        raise UnknownStreamError(name, self)

    @property
    def on(self) -> tuple[Stream, ...]:
        """The streams that are switched on, in the order in which they are named; one with a fault is left out."""
        if self.wanted is None:
            return tuple(stream for stream in self.streams.values() if stream.autostart)
        if self.wanted == ("all",):
            return tuple(self.streams.values())
        return tuple(self.streams[name] for name in self.wanted if name in self.streams)

    @property
    def left_out(self) -> Mapping[str, str]:
        """By name, why a stream does not run that is switched on, or may be: its folder cannot be read for it."""
        faulty = dict.fromkeys(fault.stream for fault in self.faults if fault.stream not in ("", *self.streams))
        if self.wanted not in (None, ("all",)):
            faulty = {name: None for name in faulty if name in (self.wanted or ())}
        why = {name: "\n".join(str(fault) for fault in self.faults if fault.stream == name) for name in faulty}
        return why | {name: str(UnknownStreamError(name, self)) for name in self.unknown}

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that are switched on and have no folder."""
        faulty = {fault.stream for fault in self.faults}
        return tuple(
            name for name in self.wanted or () if name != "all" and name not in self.streams and name not in faulty
        )


def catalogue(settings: StreamSettings | None = None) -> Catalogue:
    """What there is now, by ``settings``; without any by the environment's. It never raises for a faulty folder."""
    settings = settings or get_settings(StreamSettings)
    folders = tuple((_HOME / folder.expanduser()).resolve() for folder in settings.folders)
    return _read(folders, settings.wanted, _signature(folders))


def stream_named(name: str) -> Stream:
    """The stream of this name.

    Raises:
        StreamFaultError, UnknownStreamError: as :meth:`Catalogue.named`.
    """
    return catalogue().named(name)


def default_stream() -> Stream:
    """The stream that is meant where none is named.

    Raises:
        StreamFaultError, UnknownStreamError: as :meth:`Catalogue.named`.
    """
    return stream_named(DEFAULT_STREAM)


def _stream_folders(folder: Path) -> list[Path]:
    """Those in it that define a stream, or were meant to: with a file of the definition's name."""
    if not folder.is_dir():
        return []
    try:
        return [each for each in sorted(folder.iterdir()) if (each / FILE_NAME).exists()]
    except OSError:
        return []


def _signature(folders: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """What changes with any file that the catalogue reads."""
    return tuple(
        (file.path, (state := file.stat()).st_mtime_ns, state.st_size)
        for folder in folders
        for each in _stream_folders(folder)
        for file in _entries(each)
        if file.name.endswith((".toml", ".avsc", ".json"))
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The files in it, by name; none of a folder that is just being taken away."""
    with suppress(OSError), os.scandir(folder) as found:
        files = [entry for entry in found if entry.is_file()]
        for entry in files:
            entry.stat()  # kept by the entry
        return sorted(files, key=lambda entry: entry.name)
    return []


@lru_cache(maxsize=16)
def _read(folders: tuple[Path, ...], wanted: tuple[str, ...] | None, _state: object) -> Catalogue:
    definitions: dict[str, tuple[Path, Definition | LikeDefinition]] = {}
    faults: list[Fault] = []
    for folder in folders:
        if not folder.is_dir():
            faults.append(Fault("", folder, "", "is no folder", "make it, or take it out of ETAR_STREAMS_FOLDERS"))
        for each in _stream_folders(folder):
            file = each / FILE_NAME
            if (other := definitions.get(each.name)) is not None:
                what = f"the stream {each.name!r} is defined in {other[0]} already"
                mend = "rename one of the two folders"
                faults.append(Fault(each.name, file, "stream.name", what, mend, Rule.COLLISION))
                continue
            try:
                definitions[each.name] = (each, read_definition(file))
            except FaultyDefinitionError as error:
                faults += error.faults
    streams: dict[str, Stream] = {}
    for name, (folder, definition) in definitions.items():
        if isinstance(definition, Definition):
            try:
                streams[name] = definition.stream_of(folder, schema_text=_schema_text(folder, definition))
            except FaultyDefinitionError as error:
                faults += error.faults
    for name, (folder, definition) in definitions.items():
        if isinstance(definition, LikeDefinition):
            try:
                faulty = {fault.stream for fault in faults}
                streams[name] = _like(folder / FILE_NAME, definition, definitions, streams, faulty)
            except FaultyDefinitionError as error:
                faults += error.faults
    sound = {name: streams[name] for name in definitions if name in streams}
    collisions = list(_collisions(sound.values()))
    for fault in collisions:
        sound.pop(fault.stream, None)
    return Catalogue(folders, MappingProxyType(sound), (*faults, *collisions), wanted)


def _schema_text(folder: Path, definition: Definition) -> str:
    file = folder / definition.record.schema_name
    name = definition.stream.name

    def refused(place: str, what: str, mend: str) -> FaultyDefinitionError:
        return FaultyDefinitionError((Fault(name, file, place, what, mend, Rule.SCHEMA),))

    try:
        text = file.read_text(encoding="utf-8")
        schema = json.loads(text)
    except OSError as error:
        mend = "write the schema of the stream's records there, or name its file under [record] schema"
        raise refused("", f"cannot be read: {error.strerror}", mend) from None
    except ValueError as error:
        raise refused("", f"is not JSON: {error}", "mend it") from None
    except RecursionError:
        raise refused("", "is nested too deeply to be read", "flatten it") from None
    if (fields := fields_of_record(schema, definition.record.format)) is None:
        form = (
            'an Avro record: {"type": "record", "name": …, "fields": […]}'
            if definition.record.format is RecordFormat.AVRO
            else 'a JSON Schema of an object: {"type": "object", "properties": {…}}'
        )
        raise refused("", "is not the schema of a record", f"it must be {form}")
    for place, column in _columns_named(definition):
        if column not in fields:
            file_of_name = folder / FILE_NAME
            what = f"names {column!r}, which {file.name} does not have (it has {', '.join(fields) or 'no fields'})"
            mend = "name a field of the schema"
            raise FaultyDefinitionError((Fault(name, file_of_name, place, what, mend, Rule.SCHEMA),))
    return text


def _columns_named(definition: Definition) -> Iterator[tuple[str, str]]:
    """Every column that a definition names, and where."""
    for column in definition.event.id:
        yield "event.id", column
    yield "event.time", definition.event.time
    if definition.topic.key.field is not None:
        yield "topic.key.field", definition.topic.key.field
    for column in definition.checks:
        yield f"checks.{column}", column


def _like(
    file: Path,
    definition: LikeDefinition,
    definitions: Mapping[str, tuple[Path, Definition | LikeDefinition]],
    streams: Mapping[str, Stream],
    faulty: Set[str],
) -> Stream:
    own, other = definition.stream, definition.stream.like
    if other in faulty:
        what, mend = f"the stream {other!r} has faults of its own", "mend those"
    elif other not in definitions:
        what, mend = f"there is no stream {other!r}", f"name one of {', '.join(sorted(streams)) or 'those there are'}"
    elif isinstance(definitions[other][1], LikeDefinition):
        what, mend = f"{other!r} is itself like another stream", "name that one"
    else:
        return replace(
            streams[other],
            name=own.name,
            title=own.title or own.name.replace("_", " ").capitalize(),
            about=own.about or streams[other].about,
            autostart=own.autostart,
            like=other,
            topic_name=definition.topic.name,
            jobs=(),
            windows=None,
        )
    raise FaultyDefinitionError((Fault(own.name, file, "stream.like", what, mend),))


def _collisions(streams: Iterable[Stream]) -> Iterator[Fault]:
    """Streams that would use what is another's: of two, the one that is named later has the fault."""
    tables = dict.fromkeys(_SHARED_TABLES, "all streams")
    topics = dict.fromkeys(_OWN_TOPICS, "etar or Kafka itself")
    groups: dict[str, str] = {}
    of_store = dict.fromkeys(_STORE_TABLES, "etar itself")
    parts = dict.fromkeys(PARTS_OF_THE_STACK, "the stack")
    for stream in streams:
        file = stream.file(FILE_NAME)
        jobs = tuple(job.name for job in stream.jobs)
        parts |= {name: "the stack" for name in jobs if name.startswith(_PARTS_OF_STREAMS)}
        if len(set(jobs)) < len(jobs):
            yield Fault(stream.name, file, "jobs", "two jobs have one name", "rename one of them", Rule.COLLISION)
            continue
        of_tables = (stream.table, stream.landing_table, stream.landing_view)
        for kind, taken, names, place in (
            ("table", tables, of_tables, "stream.name"),
            ("topic", topics, (stream.topic, stream.dead_letter_topic), "topic.name"),
            ("consumer group", groups, (stream.sink_group,), "stream.name"),
            ("table of live windows", of_store, (stream.windows.table,) if stream.windows else (), "windows.table"),
            ("part", parts, jobs, "jobs"),
        ):
            for name in names:
                if name in taken:
                    what = f"the {kind} {name!r} belongs to {taken[name]}"
                    yield Fault(stream.name, file, place, what, "choose another name", Rule.COLLISION)
                    break
            else:
                taken.update(dict.fromkeys(names, f"the stream {stream.name!r}"))
