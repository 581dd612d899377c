"""What can be wrong with a stream's folder: the rules that it is held to, and a breach of one in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Rule(StrEnum):
    """What a folder is held to. The first three decide whether there is a stream; the others, whether it will work."""

    DEFINITION = "definition"
    """``stream.toml`` has the keys and values that it may have."""
    SCHEMA = "schema"
    """The schema is one of a record, and has every field that the definition names."""
    COLLISION = "collision"
    """Topic, tables and consumer group are no other stream's."""
    RESERVED = "reserved"
    """What etar adds to each row (``_topic``, ``event_minute``, …) is not what an event is known or timed by."""
    STATEMENTS = "statements"
    """``sql/`` has numbered files, and their statements make and change this stream's own tables only."""
    REPEATABLE = "repeatable"
    """The statements can be run, and run again."""
    COLUMNS = "columns"
    """The table has every column that etar needs, of a type that can be filled."""
    MINUTES = "minutes"
    """The table keeps a minute a partition, a record once, and both long enough."""
    FIELDS = "fields"
    """Each column has a field of its name, and each field a column."""
    SAMPLES = "samples"
    """Each line of ``samples.jsonl`` is a record with what it must become, and it becomes that."""
    REPORT = "report"
    """The folder says what a minute comes to, in a form that can be used."""
    GOLDEN = "golden"
    """``golden.json`` is the report of the good samples."""
    PAGE = "page"
    """``page.py`` shows fields that the report has."""
    WINDOWS = "windows"
    """The live windows are in a table that the folder makes, and their numbers are ones that the report has."""
    TRAFFIC = "traffic"
    """The made-up events follow from their seed, and are records of the stream's schema."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a stream's folder, and what to do about it. One line each."""

    stream: str
    file: Path
    place: str
    """The key, column or line it is about; empty for the file as a whole."""
    what: str
    mend: str
    rule: Rule = Rule.DEFINITION
    is_warning: bool = False
    """Whether the stream works all the same."""

    def __str__(self) -> str:
        place = f", {self.place}" if self.place else ""
        return f"{self.file}{place}: {self.what}; {self.mend}"
