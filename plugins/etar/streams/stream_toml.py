"""``stream.toml``, the definition of a stream: its keys, their values, and what is wrong with a file in plain words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etar.page import Form
from etar.streams.definition import (
    Job,
    Key,
    KeyForm,
    Limits,
    RecordFormat,
    Stream,
    TimeForm,
    Windows,
    WindowValue,
)
from etar.streams.faults import Fault

FILE_NAME = "stream.toml"
NAME_PATTERN = r"[a-z][a-z0-9_]{1,40}"
"""A stream's name is that of a table, a part of a topic, a DAG and an object key: what all of these take."""

TOPIC_PATTERN = r"[A-Za-z0-9._-]{1,200}"
"""What Kafka takes (at most 249 characters), with room for what is made of it."""

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,120}$")]
TableColumn = Annotated[str, Field(min_length=1, max_length=400)]
CodePath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")]
StoreName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,60}$")]
"""Of a table or column of PostgreSQL, as it is without quotes."""

WINDOW_COLUMNS = frozenset({"window_start", "window_end", "final", "revision", "updated_at"})
"""What each table of live windows has."""

FileName = Annotated[str, Field(pattern=r"^[\w.-]+$")]


class _Section(BaseModel):
    # Built within the definition that it is a part of, and not by itself before: so defaults are constructed, for
    # which nothing is built, and not validated.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class StreamSection(_Section):
    """``[stream]``."""

    name: Name = Field(description="The folder's name: small letters, digits and _")
    title: str = Field(default="", max_length=80, description="What people see; default: the name in words")
    about: str = Field(default="", max_length=500, description="What a record is")
    autostart: bool = Field(default=False, description="Part of `make up` without STREAMS=…")
    like: Name | None = Field(
        default=None, description="Another stream, whose folder this one shares under a name and a topic of its own"
    )


class KeySection(_Section):
    """``key = {field = "user_id", as = "utf8"}``."""

    field: Column | None = Field(default=None, description="The event's field that is the record's key")
    form: KeyForm = Field(alias="as", description="How it is written")

    @model_validator(mode="after")
    def _of_a_field(self) -> Self:
        if (self.field is None) != (self.form is KeyForm.NONE):
            raise ValueError('a key has a field and a form, or is {as = "none"}')
        return self


class TopicSection(_Section):
    """``[topic]``."""

    name: str | None = Field(default=None, pattern=f"^{TOPIC_PATTERN}$", description="Default: the stream's name")
    partitions: int = Field(default=6, ge=1, le=1000)
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    key: KeySection = KeySection.model_construct(None, **{"as": KeyForm.NONE})


class RecordSection(_Section):
    """``[record]``."""

    format: RecordFormat = Field(default=RecordFormat.AVRO, description="How a record's value is written")
    schema_file: FileName | None = Field(
        default=None, alias="schema", description="Default: schema.avsc, for JSON schema.json"
    )

    @property
    def schema_name(self) -> str:
        return self.schema_file or ("schema.avsc" if self.format is RecordFormat.AVRO else "schema.json")


class EventSection(_Section):
    """``[event]``."""

    id: tuple[Column, ...] = Field(
        description="Columns by which two records are the same event; []: each record is an event of its own"
    )
    time: Column = Field(description="Column that says when it happened")
    time_as: TimeForm = Field(default=TimeForm.LOGICAL, description="How the record says that")


class CheckSection(_Section):
    """One line of ``[checks]``: ``amount = {min = "10.00", max = "999.99"}``."""

    min: Decimal | None = None
    max: Decimal | None = None
    one_of: tuple[str, ...] | None = Field(default=None, min_length=1)
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and any(isinstance(data.get(end), float) for end in ("min", "max")):
            raise ValueError('a limit with a fraction is written as a text, min = "10.00": a float is not exact')
        return data

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing")
        for low, high in ((self.min, self.max), (self.min_length, self.max_length)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"no value is at least {low} and at most {high}")
        return self


class ReportSection(_Section):
    """``[report]``."""

    model: CodePath = "report:Report"
    transform: CodePath = "report:transform"
    version: int = Field(default=1, ge=1)
    columns: tuple[TableColumn, ...] | None = Field(
        default=None,
        description="The table's columns that it reads, beside those of event.id, _partition, _offset and _timestamp: "
        "an extract has no others. Default: all",
    )


class TrafficSection(_Section):
    """``[traffic]``."""

    traffic_class: CodePath = Field(default="traffic:Traffic", alias="class")
    rate: float = Field(default=20.0, gt=0, le=1_000_000, description="Made-up events a second")
    linger: float = Field(
        default=5.0, ge=0.1, le=60, description="Seconds that one waits at most for others to leave with"
    )


class InputSection(_Section):
    """``[input]``."""

    converter: CodePath = Field(
        description="What makes events of the rows of `etar produce --input`, where that is not the schema alone"
    )


class JobSection(_Section):
    """One of ``[[jobs]]``: a long-lived part beside the minutes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")]
    kind: Literal["spark-streaming"]
    app: Annotated[str, Field(pattern=r"^[\w./-]+$")]


class WindowValueSection(_Section):
    """One of ``values``: ``{column = "total", streamed = "streamed_total", report = "totals", title = "Sales"}``."""

    column: StoreName = Field(description="What holds now: the job's answer, once the window is final the report's")
    streamed: StoreName = Field(description="What the job said, kept beside it")
    report: Column = Field(description="The report's field that says the same: a mapping from group to number")
    title: str = Field(min_length=1, max_length=40, description="What people see")
    form: Literal["number", "decimal"] = Field(default="number", description="How it is written: a count, an amount")


class WindowsSection(_Section):
    """``[windows]``: the table in which a job keeps windows of a minute while they fill."""

    table: StoreName = Field(description="In the report store; made by the folder's postgres/")
    title: str = Field(default="", max_length=80, description="What people see; default: the table in words")
    by: StoreName = Field(description="Column that tells the groups of a window apart")
    groups: tuple[str, ...] = Field(default=(), description="Groups that are always shown, in this order")
    values: tuple[WindowValueSection, ...]

    @model_validator(mode="after")
    def _different(self) -> Self:
        if not self.values:
            raise ValueError("values is empty: name a number that each window has")
        named = [self.by, *(name for value in self.values for name in (value.column, value.streamed))]
        if taken := sorted({*named} & WINDOW_COLUMNS | {name for name in named if named.count(name) > 1}):
            raise ValueError(f"each column has one meaning: {', '.join(taken)} has another already")
        return self


class Definition(_Section):
    """A whole ``stream.toml``. Only ``[stream]`` and ``[event]`` are needed; the rest has defaults."""

    stream: StreamSection
    topic: TopicSection = TopicSection.model_construct()
    record: RecordSection = RecordSection.model_construct()
    event: EventSection
    checks: dict[Column, CheckSection] = Field(default_factory=dict)
    report: ReportSection = ReportSection.model_construct()
    traffic: TrafficSection | None = None
    input: InputSection | None = None
    jobs: tuple[JobSection, ...] = ()
    windows: WindowsSection | None = None

    def stream_of(self, folder: Path, *, schema_text: str) -> Stream:
        """The stream that this file in ``folder`` defines."""
        return Stream(
            name=self.stream.name,
            folder=folder,
            title=self.stream.title or self.stream.name.replace("_", " ").capitalize(),
            about=self.stream.about,
            autostart=self.stream.autostart,
            topic_name=self.topic.name,
            partitions=self.topic.partitions,
            compression=self.topic.compression,
            key=Key(self.topic.key.form, self.topic.key.field),
            record=self.record.format,
            schema_text=schema_text,
            schema_name=self.record.schema_name,
            identity=self.event.id,
            time=self.event.time,
            time_form=self.event.time_as,
            checks={name: Limits(**limits.model_dump()) for name, limits in self.checks.items()},
            report_model=self.report.model,
            report_transform=self.report.transform,
            report_version=self.report.version,
            report_columns=self.report.columns,
            traffic=self.traffic.traffic_class if self.traffic else None,
            traffic_rate=(self.traffic or TrafficSection.model_construct()).rate,
            traffic_linger=(self.traffic or TrafficSection.model_construct()).linger,
            converter=self.input.converter if self.input else None,
            jobs=tuple(Job(job.name, job.kind, job.app) for job in self.jobs),
            windows=self._windows(),
        )

    def _windows(self) -> Windows | None:
        section = self.windows
        if section is None:
            return None
        title = section.title or section.table.replace("_", " ").capitalize()
        values = tuple(WindowValue(**value.model_dump() | {"form": Form(value.form)}) for value in section.values)
        return Windows(section.table, title, section.by, values, section.groups)


class LikeTopicSection(_Section):
    """``[topic]`` of a stream that is like another."""

    name: str | None = Field(default=None, pattern=f"^{TOPIC_PATTERN}$")


class LikeStreamSection(StreamSection):
    """``[stream]`` of a stream that is like another."""

    like: Name


class LikeDefinition(_Section):
    """The ``stream.toml`` of a stream that is like another: it has a name and a topic of its own, and nothing else."""

    stream: LikeStreamSection
    topic: LikeTopicSection = LikeTopicSection.model_construct()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``stream.toml``, for editors: a stream of its own, or one that is like another."""
    own, like = (kind.model_json_schema(ref_template="#/$defs/{model}") for kind in (Definition, LikeDefinition))
    definitions = own.pop("$defs") | like.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE_NAME,
        "if": {"properties": {"stream": {"required": ["like"]}}},
        "then": like,
        "else": own,
        "$defs": definitions,
    }


class FaultyDefinitionError(Exception):
    """A ``stream.toml`` that is none; every fault of it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def read_definition(file: Path) -> Definition | LikeDefinition:
    """What ``file`` says.

    Raises:
        FaultyDefinitionError: it cannot be read, is not TOML, or does not keep to the keys and values above.
    """
    name = file.parent.name

    def refused(place: str, what: str, mend: str) -> FaultyDefinitionError:
        return FaultyDefinitionError((Fault(name, file, place, what, mend),))

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise refused("", f"cannot be read: {error.strerror}", "make it readable, or take the folder away") from None
    except UnicodeDecodeError as error:
        raise refused(f"byte {error.start}", "is not UTF-8", "save it as UTF-8") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at (?P<place>[^()]+)\)$", str(error))
        what = str(error).removesuffix(where[0]).strip() if where else str(error)
        raise refused(where["place"] if where else "", f"is not TOML: {what}", "see https://toml.io") from None
    section = data.get("stream")
    kind = LikeDefinition if isinstance(section, dict) and "like" in section else Definition
    try:
        definition = kind.model_validate(data)
    except ValidationError as error:
        raise FaultyDefinitionError(tuple(_faults(name, file, kind, error))) from None
    if definition.stream.name != name:
        raise refused(
            "stream.name", f"is {definition.stream.name!r} in a folder named {name!r}", "give both the same name"
        )
    return definition


def _faults(stream: str, file: Path, kind: type[BaseModel], error: ValidationError) -> Iterator[Fault]:
    for problem in error.errors(include_url=False):
        path = problem["loc"]
        place = ".".join(str(part) for part in path)
        match problem["type"]:
            case "extra_forbidden":
                known = ", ".join(_keys_at(kind, path[:-1]))
                where = ".".join(str(part) for part in path[:-1])
                allowed = f"[{where}] has {known}" if where else f"there are {known}"
                if kind is LikeDefinition:
                    allowed += " in a stream that is like another"
                yield Fault(stream, file, place, "is not a key", f"{allowed}; take it out, or mend its spelling")
            case "missing":
                section = path[:-1] or path
                mend = f"write it under [{section[0]}]" if len(path) > 1 else f"write the section [{place}]"
                yield Fault(stream, file, place, "is missing", mend)
            case "string_pattern_mismatch":
                pattern = str(problem["ctx"]["pattern"]).removeprefix("^").removesuffix("$")
                yield Fault(stream, file, place, f"is {problem['input']!r:.80}", f"it must be like {pattern}")
            case "value_error":
                yield Fault(stream, file, place, str(problem["ctx"]["error"]), "mend it")
            case _:
                message = problem["msg"].replace("Input should", "it must").replace("input should", "it must")
                yield Fault(stream, file, place, f"is {problem['input']!r:.80}", message)


def _keys_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at ``path`` takes, as a file writes them."""
    here: Any = kind.model_json_schema()
    definitions = here.get("$defs", {})
    for part in path:
        here = here["items"] if isinstance(part, int) else here.get("properties", {}).get(part, {})
        here = here.get("additionalProperties", here) if "properties" not in here else here
        for choice in here.get("anyOf", []):
            here = choice if "$ref" in choice else here
        if "$ref" in here:
            here = definitions[here["$ref"].rsplit("/", 1)[1]]
    return sorted(here.get("properties", {}))
