"""The event streams that etar reports on: each is a folder, and this is what is read of it (``/streams``)."""

from etar.streams.catalogue import (
    Catalogue,
    StreamFaultError,
    UnknownStreamError,
    catalogue,
    default_stream,
    stream_named,
)
from etar.streams.definition import (
    DEFAULT_STREAM,
    OF_ANY_LOG,
    OF_FORMER_LOGS,
    Job,
    Key,
    KeyForm,
    Limits,
    RecordFormat,
    Stream,
    TimeForm,
    Windows,
    WindowValue,
    subject_of,
)
from etar.streams.faults import Fault, Rule
from etar.streams.schema_fields import SchemaField, schema_fields
from etar.streams.stream_toml import WINDOW_COLUMNS

__all__ = [
    "DEFAULT_STREAM",
    "OF_ANY_LOG",
    "OF_FORMER_LOGS",
    "WINDOW_COLUMNS",
    "Catalogue",
    "Fault",
    "Job",
    "Key",
    "KeyForm",
    "Limits",
    "RecordFormat",
    "Rule",
    "SchemaField",
    "Stream",
    "StreamFaultError",
    "TimeForm",
    "UnknownStreamError",
    "WindowValue",
    "Windows",
    "catalogue",
    "default_stream",
    "schema_fields",
    "stream_named",
    "subject_of",
]
