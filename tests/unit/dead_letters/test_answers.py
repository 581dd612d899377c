"""What is told of a letter, and how a list goes on; on an office and a table of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etar.dead_letter_office import answers
from etar.dead_letter_office.document import Document, Form
from etar.dead_letter_office.office import Dossier
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.journal import BegunReplay, Change
from etar.dead_letters.letters import LetterId, Place, Selection, State, Summary
from etar.streams import Stream

AT = datetime(2026, 11, 21, 10, 31, 7, 250_000, tzinfo=UTC)
LETTER = DeadLetter("rides", 3, 1042, AT, Reason.MISSING_OR_WRONG_FIELD, "user: expected a UUID", b"kk", b"\0" * 2_000)


def a_dossier(**other: Any) -> Dossier:
    given: dict[str, Any] = {
        "letter": LETTER,
        "state": State.OPEN,
        "document": Document(Form.AVRO, {"user": "<b>x</b>", "paid": True}, 1),
        "headers": [("trace\n", b"\xff<i>"), ("none", None)],
        "changes": [],
        "replays": [],
        "fixed": None,
    }
    return Dossier(**(given | other))


def test_a_letter_is_told_as_text_that_is_bounded() -> None:
    told = answers.told("rides", a_dossier())

    assert [(leaf.path, leaf.value, leaf.failing) for leaf in told.leaves] == [
        ("user", '"<b>x</b>"', True),
        ("paid", "true", False),
    ]
    assert told.value
    assert (told.value.size, len(told.value.lines)) == (2_000, 64)
    assert told.headers
    assert [(header.name, header.value) for header in told.headers] == [("trace\ufffd", "\ufffd<i>"), ("none", None)]


def test_where_the_detail_names_no_field_it_is_the_one_at_which_reading_stopped() -> None:
    cut = DeadLetter("rides", 3, 1042, AT, Reason.TRUNCATED, "the body cannot be decoded", None, b"\0")
    document = Document(Form.AVRO_IN_PART, {"user": "u"}, 1, fault="paid cannot be decoded", stopped_at="paid")

    told = answers.told("rides", a_dossier(letter=cut, document=document, headers=None))

    assert (told.field, told.pointer, told.there) == ("paid", "/paid", False)
    assert (told.key, told.headers) == (None, None)


def test_what_came_of_it_is_told_in_its_order() -> None:
    change = Change(AT, "ana", "replayed", "etar dead-letters replay", {"why": "x" * 2_000})
    sent = BegunReplay("rides", 1107, AT, AT, None)

    told = answers.told("rides", a_dossier(state=State.REPLAYED, changes=[change], replays=[sent]))

    assert [(each.action, each.by, len(each.detail)) for each in told.changes] == [("replayed", "ana", 1_001)]
    assert [(each.partition, each.offset) for each in told.replays] == [(3, 1107)]


class Table:
    """So many letters of one partition, a second apart; each third is discarded. In place of warehouse and journal."""

    def __init__(self, count: int) -> None:
        self._letters = [
            Summary(LetterId(0, offset), AT + timedelta(seconds=offset), Reason.NULL_VALUE, "", None)
            for offset in reversed(range(count))
        ]

    def newest(self, _: Selection, *, field: str | None, before: Place | None, most: int) -> list[Summary]:
        assert field is None
        return [each for each in self._letters if before is None or Place.of(each) < before][:most]

    def states(self, ids: Sequence[LetterId]) -> dict[LetterId, State]:
        return {each: State.DISCARDED for each in ids if each.offset % 3 == 0}


class TestAList:
    @pytest.fixture(autouse=True)
    def _of_seven(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Table(7)

        @contextmanager
        def letters_of(_: Stream) -> Iterator[Table]:
            yield table

        class Connection:
            def close(self) -> None: ...

        monkeypatch.setattr(answers, "_letters_of", letters_of)
        monkeypatch.setattr(answers, "Journal", lambda _connection, _topic: table)
        monkeypatch.setattr(answers, "report_store_connection", lambda _settings, *, reading: Connection())
        monkeypatch.setattr(answers, "get_settings", lambda kind: kind.model_construct())

    @staticmethod
    def pages(selection: Selection, most: int) -> list[list[int]]:
        found: list[list[int]] = []
        place: Place | None = None
        while True:
            page, place = answers.listed(Stream("rides"), selection, field=None, before=place, most=most)
            found.append([each.offset for each in page])
            if place is None:
                return found

    def test_has_each_letter_once(self) -> None:
        assert self.pages(Selection(), 3) == [[6, 5, 4], [3, 2, 1], [0]]
        assert self.pages(Selection(), 7) == [[6, 5, 4, 3, 2, 1, 0]]

    def test_is_narrowed_by_state(self) -> None:
        assert self.pages(Selection(states=frozenset({State.DISCARDED})), 2) == [[6, 3], [0]]
        assert self.pages(Selection(states=frozenset({State.OPEN})), 9) == [[5, 4, 2, 1]]

    def test_looks_through_so_many_letters_and_goes_on_behind_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answers, "_AT_ONCE", 2)
        monkeypatch.setattr(answers, "LOOKED_THROUGH", 2)
        assert self.pages(Selection(states=frozenset({State.DISCARDED})), 9) == [[6], [3], [], [0]]
