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
    subject_of,
)
from etar.streams.faults import Fault, Rule

__all__ = [
    "DEFAULT_STREAM",
    "OF_ANY_LOG",
    "OF_FORMER_LOGS",
    "Catalogue",
    "Fault",
    "Job",
    "Key",
    "KeyForm",
    "Limits",
    "RecordFormat",
    "Rule",
    "Stream",
    "StreamFaultError",
    "TimeForm",
    "UnknownStreamError",
    "catalogue",
    "default_stream",
    "stream_named",
    "subject_of",
]
