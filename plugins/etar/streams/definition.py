"""What an event stream is, and every name that follows from its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from etar.minute import MinuteWindow
from etar.page import Form

DEFAULT_STREAM = "user_interactions"
"""The stream that is meant where none is named."""

_DAG = "etar_pipeline"


class RecordFormat(StrEnum):
    """How a record's value is written."""

    AVRO = "avro"
    """Avro behind the registry's header, or with the schema's id in the record's headers."""
    JSON = "json"
    """JSON as it is, by the JSON Schema of the stream's folder."""
    JSON_REGISTERED = "json-registered"
    """JSON behind the registry's header."""


class TimeForm(StrEnum):
    """How an event says when it happened."""

    LOGICAL = "logical"
    """A number whose unit the writer's schema says: Avro's logical types."""
    ISO8601 = "iso8601"
    """Text with an offset, ``2026-11-21T10:31:00.123Z``."""
    UNIX_MS = "unix_ms"
    """Milliseconds since 1970, with or without a fraction."""
    UNIX_S = "unix_s"
    """Seconds since 1970, with or without a fraction."""


class KeyForm(StrEnum):
    """How a record's key is written."""

    UTF8 = "utf8"
    UUID16 = "uuid16"
    """The sixteen bytes of a UUID."""
    NONE = "none"


@dataclass(frozen=True)
class Key:
    """The key of a stream's records: the event's field that it is of."""

    form: KeyForm = KeyForm.NONE
    field: str | None = None


@dataclass(frozen=True)
class Limits:
    """What a field's values must keep to beyond the schema; None is no limit. Bounds are inclusive; lengths are
    characters of a text, entries of a list or a map."""

    min: Decimal | None = None
    max: Decimal | None = None
    one_of: tuple[str, ...] | None = None
    min_length: int | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Job:
    """A part of the stack that a stream brings with it, beside its minutes."""

    name: str
    """Of its part as well."""
    kind: str
    app: str
    """Its program: a file of the stream's folder, else of this repository."""


@dataclass(frozen=True)
class WindowValue:
    """A number that each live window has for each group."""

    column: str
    """What holds now: the stream job's answer, and once the window is final its report's."""
    streamed: str
    """The column that keeps what the stream job said."""
    report: str
    """The report's field that says the same: a mapping from each group to its number."""
    title: str
    form: Form = Form.NUMBER


@dataclass(frozen=True)
class Windows:
    """A table of the report store in which a job of the stream keeps windows of a minute while they fill.

    A row is of a window and a group; beside the columns named here it has ``window_start``, ``window_end``, ``final``,
    ``revision`` and ``updated_at``, and its primary key is ``(window_start, by)`` (``streams/README.md``).
    """

    table: str
    title: str
    by: str
    """The column that tells the groups apart."""
    values: tuple[WindowValue, ...]
    groups: tuple[str, ...] = ()
    """Those that are always shown, in this order; others follow by name."""


@dataclass(frozen=True)
class Stream:
    """One event stream: a topic, the table it lands in, and the objects made from a minute of it.

    Defaults are those of a folder that says nothing of its own (``streams/README.md``).
    """

    name: str
    folder: Path | None = field(default=None, compare=False)
    """Where its schema, tables and code are; None for one that has none, as in tests of a single part."""
    title: str = ""
    about: str = ""
    autostart: bool = False
    like: str | None = None
    """The stream whose folder this one shares under a name and topic of its own."""
    topic_name: str | None = None
    partitions: int = 6
    compression: str = "lz4"
    key: Key = Key()
    record: RecordFormat = RecordFormat.AVRO
    schema_text: str | None = field(default=None, repr=False)
    """What is registered under :func:`subject_of` its topic; for plain JSON the JSON Schema of its records."""
    schema_name: str | None = field(default=None, compare=False)
    """Of the file in its folder that :attr:`schema_text` is from."""
    identity: tuple[str, ...] = ("event_id",)
    """Columns by which two records are the same event; none: every record is an event of its own."""
    time: str = "event_time"
    """The column that says when the event happened."""
    time_form: TimeForm = TimeForm.LOGICAL
    checks: Mapping[str, Limits] = field(default_factory=dict)
    report_model: str = "report:Report"
    report_transform: str = "report:transform"
    report_version: int = 1
    report_columns: tuple[str, ...] | None = None
    """Columns of the table that the report reads, beside those of its identity; None: all of them."""
    traffic: str | None = None
    """``module:Class`` of its made-up events; None: it has none."""
    traffic_rate: float = 20.0
    """Made-up events a second."""
    traffic_linger: float = 5.0
    """Seconds that a made-up event waits at most for others to leave with: a block costs, however few are in it."""
    converter: str | None = None
    """``module:Class`` of what makes events of a file's rows; None: its schema alone says how."""
    jobs: tuple[Job, ...] = ()
    windows: Windows | None = None
    """What its jobs keep of it while its minutes fill; None: nothing."""

    def __hash__(self) -> int:
        return hash(self.name)

    def file(self, name: str) -> Path:
        """One of its folder."""
        return (self.folder or Path()) / name

    @property
    def topic(self) -> str:
        return self.topic_name or self.name

    @property
    def table(self) -> str:
        return self.name

    @property
    def landing_table(self) -> str:
        """What the official connector writes to, and passes its rows on to the table."""
        return f"{self.table}_landing"

    @property
    def landing_view(self) -> str:
        """What passes them on."""
        return f"{self.table}_landed"

    def former_log(self, number: int) -> str:
        """What stands in place of the topic's name with all that is stored of its first, second, … log, when that has
        ended: ``payments@1``. No topic can have such a name."""
        return f"{self.topic}@{number}"

    @property
    def connector(self) -> str:
        """Name of the sink, and of its configuration in Kafka Connect."""
        return f"{self.name}_sink"

    @property
    def sink_group(self) -> str:
        """Consumer group whose commits say how far the sink is; Kafka Connect derives it like this from the name."""
        return f"connect-{self.connector}"

    @property
    def dead_letter_topic(self) -> str:
        """Topic in which Kafka Connect leaves the records that it gave up; there is none under another sink."""
        return f"{self.name}_dead_letters"

    @property
    def dag_id(self) -> str:
        """The DAG that reports its minutes. The default stream's has its name from when there was no other."""
        return _DAG if self.name == DEFAULT_STREAM else f"{_DAG}_{self.name}"

    @staticmethod
    def name_of_dag(dag_id: str) -> str | None:
        """The name of the stream whose DAG has this id; None: it is another DAG."""
        base, _, name = dag_id.partition(f"{_DAG}_")
        return DEFAULT_STREAM if dag_id == _DAG else name if name and not base else None

    @property
    def sink_part(self) -> str:
        """The native stack's part that fills its table."""
        return "sink" if self.name == DEFAULT_STREAM else f"sink-{self.name}"

    def job_app(self, job: Job, repository: Path) -> Path:
        """The file of a job's program."""
        own = self.file(job.app)
        return own if self.folder is not None and own.is_file() else repository / job.app

    def checkpoints_key(self, job: Job) -> str:
        """Below which a job's checkpoints are, ``checkpoints/payments/sums``."""
        return f"checkpoints/{self.name}/{job.name}"

    def extract_key(self, window: MinuteWindow) -> str:
        """Object key of one minute's rows, e.g. ``extracts/payments/2025-08-09_10-30.parquet``."""
        return f"extracts/{self.name}/{window.slug}.parquet"

    def result_key(self, window: MinuteWindow) -> str:
        """Object key of one minute's analysis, e.g. ``results/payments/2025-08-09_10-30.json``."""
        return f"results/{self.name}/{window.slug}.json"


OF_FORMER_LOGS = "startsWith(_topic, concat({topic:String}, '@'))"
"""What is in the warehouse of a topic's logs that have ended: see :meth:`Stream.former_log`."""

OF_ANY_LOG = f"(_topic = {{topic:String}} OR {OF_FORMER_LOGS})"
"""What is of a topic in the warehouse, whichever log of it: a minute has rows and letters of former ones, too."""


def subject_of(topic: str) -> str:
    """The subject under which a registry has the schemas of a topic's values."""
    return f"{topic}-value"
