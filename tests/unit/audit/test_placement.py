"""The rules of the audit: what is done to a record, by what it is and by where it is."""

from __future__ import annotations

import pytest

from etar.audit.placement import Inventory, Placement, place
from etar.dead_letters import Reason
from etar.records.intake import Decoded
from etar.records.record import Record, Row

OFFSET = 7
RECORD = Record("t", 0, OFFSET, 1_000, None, b"value")
GOOD = Row(RECORD, ("values",))
BAD = RECORD.dead(Reason.TRUNCATED, "cut")

NOWHERE = Inventory(0, missing=frozenset({OFFSET}))
LETTER = Inventory(0, letters={OFFSET: "truncated"})
MISFILED = Inventory(0, letters={OFFSET: "not_avro"})
BOTH = Inventory(0, letters={OFFSET: "truncated"}, both=frozenset({OFFSET}))
MISFILED_BOTH = Inventory(0, letters={OFFSET: "not_avro"}, both=frozenset({OFFSET}))
DECIDED = Inventory(0, letters={OFFSET: "not_avro"}, decided=frozenset({OFFSET}))
DECIDED_BOTH = Inventory(0, letters={OFFSET: "not_avro"}, both=frozenset({OFFSET}), decided=frozenset({OFFSET}))


def placed(inventory: Inventory, decoded: Decoded, *, expired: bool = False, leaving: bool = False) -> Placement:
    return place(inventory, decoded, expired=lambda _: expired, leaving=lambda _: leaving)


@pytest.mark.parametrize(
    ("inventory", "expired", "todo"),
    [
        pytest.param(NOWHERE, False, Placement(store=[GOOD]), id="in no place"),
        pytest.param(NOWHERE, True, Placement(expired=[OFFSET]), id="in no place, its minute has left the table"),
        pytest.param(LETTER, False, Placement(rescue=[GOOD]), id="a letter"),
        pytest.param(LETTER, True, Placement(), id="a letter whose minute has left the table"),
        pytest.param(BOTH, False, Placement(remove_letters=[OFFSET]), id="in both"),
        pytest.param(BOTH, True, Placement(remove_letters=[OFFSET]), id="in both, its minute is leaving the table"),
        pytest.param(DECIDED, False, Placement(), id="a letter that a person has replayed or discarded"),
        pytest.param(DECIDED_BOTH, False, Placement(remove_rows=[OFFSET]), id="decided by a person, and a row"),
    ],
)
def test_a_good_record(inventory: Inventory, expired: bool, todo: Placement) -> None:
    assert placed(inventory, Decoded([GOOD], []), expired=expired, leaving=expired) == todo


@pytest.mark.parametrize(
    ("inventory", "todo"),
    [
        pytest.param(NOWHERE, Placement(store=[GOOD]), id="in no place"),
        pytest.param(LETTER, Placement(), id="a letter: no report would count its row"),
        pytest.param(BOTH, Placement(remove_letters=[OFFSET]), id="in both"),
    ],
)
def test_a_good_record_whose_minute_leaves_the_table_before_it_can_be_reported(
    inventory: Inventory, todo: Placement
) -> None:
    assert placed(inventory, Decoded([GOOD], []), leaving=True) == todo


@pytest.mark.parametrize(
    ("inventory", "todo"),
    [
        pytest.param(NOWHERE, Placement(file=[BAD]), id="in no place"),
        pytest.param(LETTER, Placement(), id="a letter"),
        pytest.param(MISFILED, Placement(refile=[BAD]), id="a letter under another reason"),
        pytest.param(BOTH, Placement(remove_rows=[OFFSET]), id="in both"),
        pytest.param(MISFILED_BOTH, Placement(refile=[BAD], remove_rows=[OFFSET]), id="in both, another reason"),
        pytest.param(DECIDED, Placement(), id="a letter that a person has replayed or discarded"),
        pytest.param(DECIDED_BOTH, Placement(remove_rows=[OFFSET]), id="decided by a person, and a row"),
    ],
)
def test_a_bad_record(inventory: Inventory, todo: Placement) -> None:
    assert placed(inventory, Decoded([], [BAD])) == todo


def test_everything_that_is_missing_or_a_letter_is_read_in_order() -> None:
    inventory = Inventory(0, missing=frozenset({9, 2}), letters={5: "not_avro", 1: "truncated"})
    assert inventory.to_read == [1, 2, 5, 9]


def test_the_letters_that_are_touched_are_named() -> None:
    assert placed(LETTER, Decoded([GOOD], [])).letters == [OFFSET]
    assert placed(MISFILED_BOTH, Decoded([], [BAD])).letters == [OFFSET, OFFSET]
    assert placed(LETTER, Decoded([], [BAD])).letters == []
