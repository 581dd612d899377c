"""Dead letters that may be an event's: they are read with their writer's schema, as ``etar dead-letters`` does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from etar.dead_letter_office.document import Document, Form
from etar.dead_letter_office.office import open_office
from etar.dead_letters import DeadLetter
from etar.records.framing import IN_HEADER
from etar.streams import Stream
from etar.trace.facts import FoundLetter, RecordId

_CERTAIN = (Form.AVRO, Form.AVRO_IN_PART, Form.JSON)


def read_bodies(stream: Stream, log: str, letters: Sequence[DeadLetter], *, kafka: bool) -> list[Document | None]:
    """What can be read of each.

    Args:
        kafka: whether it answers; else what needs a record's headers to be read is not, and is None.

    Raises:
        RegistryUnavailableError, WarehouseUnavailableError, psycopg.Error, UnsupportedTableError
    """
    former = None if log == stream.topic else log
    with open_office(stream, command="etar trace", say=lambda _: None, log=former, reading=True) as office:
        return [office.document(letter) if kafka or IN_HEADER not in letter.detail else None for letter in letters]


def chosen(
    stream: Stream, record: RecordId, letter: DeadLetter, read: Document | None, identity: Sequence[str]
) -> FoundLetter | None:
    """The letter as one of the event; None where it says that it is of another.

    Args:
        read: what it says; None where that could not be read.
    """
    said = read.fields if read is not None and read.form in _CERTAIN else {}
    if not all(column in said for column in stream.identity):
        return FoundLetter(record, letter, by_bytes=True)
    same = all(is_same(asked, said[column]) for asked, column in zip(identity, stream.identity, strict=True))
    return FoundLetter(record, letter) if same else None


def is_same(asked: str, said: Any) -> bool:
    """Whether a value of a record is the one that is asked for, as the table would store both."""
    if isinstance(said, bytes) and len(said) == 16:
        said = UUID(bytes=said)
    if asked == str(said):
        return True
    with suppress(ValueError):
        return UUID(asked) == UUID(str(said))
    with suppress(InvalidOperation):
        return Decimal(asked) == Decimal(str(said))
    return False
