"""What ``etar dead-letters`` prints of records that anybody may have written."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.dead_letters import _describe, _line
from etar.dead_letter_office.document import Document, Form
from etar.dead_letter_office.office import Dossier
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.letters import State, Summary

HOSTILE = "\x1b]52;c;aGk=\x07 \x9b31m \u202e"
LETTER = DeadLetter(
    topic="t",
    partition=1,
    offset=2,
    appended=datetime(2026, 11, 21, 10, 31, tzinfo=UTC),
    reason=Reason.NOT_AVRO,
    detail=HOSTILE,
    key=None,
    value=HOSTILE.encode(),
)


def test_nothing_of_a_record_reaches_the_terminal_that_it_would_obey() -> None:
    for document in (
        Document(Form.TEXT, {}, text=HOSTILE),
        Document(Form.JSON, {HOSTILE: HOSTILE}, fault=HOSTILE),
    ):
        shown = _describe(
            Dossier(
                letter=LETTER,
                state=State.OPEN,
                document=document,
                headers=((HOSTILE, b"x"),),
                fixed=None,
                changes=[],
                replays=[],
            )
        )
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "52;c;aGk=" in shown
    assert _line(Summary.of(LETTER), State.OPEN).isprintable()
