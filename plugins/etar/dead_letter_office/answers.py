"""What the report API says of a stream's dead letters: a list, counts, and one letter in full. Nothing is changed.

Each question has an end: rows, seconds and characters are bounded. What is not filed yet (Kafka Connect's) is in no
table, and so in no list; asked for by its name, it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from etar.clients import report_store_connection
from etar.dead_letter_office.document import to_json
from etar.dead_letter_office.office import Dossier, open_office
from etar.dead_letter_office.outline import outline
from etar.dead_letters import Reason
from etar.dead_letters.answer import (
    Bytes,
    LetterBucket,
    LetterChange,
    LetterCounts,
    LetterHeader,
    LetterReplay,
    ListedLetter,
    WholeLetter,
)
from etar.dead_letters.fields import failing_field
from etar.dead_letters.journal import Journal
from etar.dead_letters.letters import LetterId, Letters, Place, Selection, State, Summary
from etar.settings import ReportStoreSettings, WarehouseSettings, get_settings
from etar.streams import Stream
from etar.text import hex_lines, printable

LOOKED_THROUGH = 10_000
"""Letters whose state is asked for, where only some states are wanted: the next page goes on behind them."""

_SECONDS_MAX = 10
_AT_ONCE = 1_000
_MOST_FIELDS = 50
_MOST_BYTES = 1024
_MOST_HEADERS = 50
_MOST_CHARACTERS = 1_000


def listed(
    stream: Stream, selection: Selection, *, field: str | None, before: Place | None, most: int
) -> tuple[list[ListedLetter], Place | None]:
    """The newest letters of a selection, at most so many, and where the next page begins; None where none is left.

    Args:
        field: only letters whose reason is about this one.
        before: where the page before ended.

    Raises:
        WarehouseUnavailableError, psycopg.Error, pydantic.ValidationError
    """
    found: list[ListedLetter] = []
    looked_through = 0
    with (
        _letters_of(stream) as letters,
        closing(report_store_connection(get_settings(ReportStoreSettings), reading=True)) as connection,
    ):
        journal = Journal(connection, stream.topic)
        at_once = _AT_ONCE if selection.states else most + 1
        while True:
            page = letters.newest(selection, field=field, before=before, most=at_once)
            states = journal.states([summary.id for summary in page])
            for summary in page:
                state = states.get(summary.id, State.OPEN)
                if not selection.states or state in selection.states:
                    if len(found) == most:
                        return found, before
                    found.append(_listed(summary, state))
                before = Place.of(summary)
            if len(page) < at_once:
                return found, None
            looked_through += len(page)
            if looked_through >= LOOKED_THROUGH:
                return found, before


def counted(
    stream: Stream, selection: Selection, *, first: datetime, end: datetime, field: str | None, seconds: int
) -> LetterCounts:
    """How many letters there are in ``[first, end)`` by reason, in buckets of so many seconds.

    Raises:
        WarehouseUnavailableError, pydantic.ValidationError
    """
    buckets: dict[datetime, dict[Reason, int]] = {}
    with _letters_of(stream) as letters:
        for start, reason, count in letters.counts(selection, field=field, seconds=seconds):
            buckets.setdefault(start, {})[reason] = count
        fields = letters.failing_fields(selection, most=_MOST_FIELDS)
    return LetterCounts(
        stream=stream.name,
        start=first,
        end=end,
        seconds=seconds,
        total=sum(sum(reasons.values()) for reasons in buckets.values()),
        buckets=tuple(LetterBucket(start=start, reasons=reasons) for start, reasons in buckets.items()),
        fields=fields,
    )


def whole(stream: Stream, letter: LetterId) -> WholeLetter:
    """All that is known of one letter.

    Raises:
        UnknownLetterError: there is no such letter.
        WarehouseUnavailableError, psycopg.Error, UnsupportedTableError, pydantic.ValidationError
    """
    with open_office(stream, command="the report API", say=lambda _: None, reading=True) as office:
        return told(stream.name, office.show(letter))


def told(stream: str, dossier: Dossier) -> WholeLetter:
    """What is known of a letter, as it is served. What anybody may have written is cut and made to print."""
    letter, document = dossier.letter, dossier.document
    field = failing_field(letter.reason, letter.detail) or document.stopped_at
    shown = outline(document.fields, field)
    return WholeLetter(
        **_listed(Summary.of(letter), dossier.state).model_dump() | {"field": field and _text(field)},
        stream=stream,
        form=document.form.value,
        schema_id=document.schema_id,
        fault=None if document.fault is None else _text(document.fault),
        leaves=tuple(shown.leaves),
        leaves_left_out=shown.left_out,
        pointer=shown.pointer,
        there=shown.there,
        key=_bytes(letter.key),
        value=_bytes(letter.value),
        fixed=_bytes(dossier.fixed),
        headers=None if dossier.headers is None else tuple(_headers(dossier.headers)),
        changes=tuple(
            LetterChange(
                at=change.changed_at,
                by=_text(change.changed_by),
                action=change.action,
                command=_text(change.command),
                detail=_text(to_json(dict(change.detail))),
            )
            for change in dossier.changes
        ),
        replays=tuple(
            LetterReplay(
                log=sent.log,
                partition=letter.partition,
                offset=sent.offset,
                begun_at=sent.begun_at,
                sent_at=sent.sent_at,
                withdrawn_at=sent.withdrawn_at,
            )
            for sent in dossier.replays
        ),
    )


@contextmanager
def _letters_of(stream: Stream) -> Iterator[Letters]:
    with closing(Letters(get_settings(WarehouseSettings), stream.topic, seconds_max=_SECONDS_MAX)) as letters:
        yield letters


def _listed(summary: Summary, state: State) -> ListedLetter:
    field = failing_field(summary.reason, summary.detail)
    return ListedLetter(
        partition=summary.id.partition,
        offset=summary.id.offset,
        appended_at=summary.appended,
        reason=summary.reason,
        detail=_text(summary.detail),
        field=field and _text(field),
        state=state,
        size=summary.size,
    )


def _bytes(raw: bytes | None) -> Bytes | None:
    return None if raw is None else Bytes(size=len(raw), lines=tuple(hex_lines(raw, _MOST_BYTES)))


def _headers(headers: Sequence[tuple[str, Any]]) -> Iterator[LetterHeader]:
    for name, value in headers[:_MOST_HEADERS]:
        raw = value.encode() if isinstance(value, str) else value
        yield LetterHeader(name=_text(name), value=None if raw is None else _text(raw.decode(errors="replace")))


def _text(text: str) -> str:
    return printable(text[:_MOST_CHARACTERS]) + ("…" if len(text) > _MOST_CHARACTERS else "")
