"""Where records belong, and what has to be done where they are not: the rules of the audit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etar.dead_letters import DeadLetter
    from etar.records.intake import Decoded
    from etar.records.record import Row


class Repair(StrEnum):
    """What the auditor does to a record. The value is what stands in ``audit_repairs``."""

    STORED = "stored"
    """It was in no place, and is a row now."""

    FILED = "filed"
    """It was in no place, and is a dead letter now."""

    EXPIRED = "expired"
    """It is in no place, and would be a row of a minute that has left the table: counted as a row, not stored."""

    RESCUED = "rescued"
    """It was a dead letter, is a good record, and is a row now."""

    REFILED = "refiled"
    """It was a dead letter under a reason that is not its own."""

    LETTER_REMOVED = "letter_removed"
    """It was a row and a dead letter; the record is good, so the letter went."""

    ROW_REMOVED = "row_removed"
    """It was a row and a dead letter; the record is bad, or a person has dealt with the letter: the row went."""

    LOST = "lost"
    """It is in no place, and Kafka does not hold it any more."""


@dataclass(frozen=True)
class Inventory:
    """What the places hold of some offsets of one partition.

    ``letters``: the reason under which each letter is filed. ``both``: letters whose record is a row as well.
    ``decided``: letters that a person has replayed or discarded; they are left as they are.
    """

    partition: int
    missing: frozenset[int] = frozenset()
    letters: Mapping[int, str] = field(default_factory=dict)
    both: frozenset[int] = frozenset()
    decided: frozenset[int] = frozenset()

    @property
    def to_read(self) -> list[int]:
        """The offsets whose records have to be seen, ascending."""
        return sorted(self.missing | self.letters.keys())


@dataclass
class Placement:
    """What is to be done to a batch of records, each with its offset.

    ``store``: rows for records that are in no place; ``rescue``: rows for records that are letters. ``file``: letters
    for records that are in no place; ``refile``: for those filed under another reason. The others are offsets.
    """

    store: list[Row] = field(default_factory=list)
    rescue: list[Row] = field(default_factory=list)
    file: list[DeadLetter] = field(default_factory=list)
    refile: list[DeadLetter] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    remove_letters: list[int] = field(default_factory=list)
    remove_rows: list[int] = field(default_factory=list)

    @property
    def letters(self) -> list[int]:
        """The letters that are not left as they are, or whose record is a row as well."""
        rescued = [row.record.offset for row in self.rescue]
        return rescued + [letter.offset for letter in self.refile] + self.remove_letters + self.remove_rows


def place(
    inventory: Inventory, decoded: Decoded, *, expired: Callable[[Row], bool], leaving: Callable[[Row], bool]
) -> Placement:
    """Compare what records are with where they are.

    A record in no place goes where it belongs. A letter whose record is good becomes a row, unless no report would
    count that any more: then it stays the letter it is. A record in both places stays in the one that it belongs to.
    What a person has decided about a letter stands: it is not made a row, and a row beside it goes.

    Args:
        expired: whether a row's minute has left the table.
        leaving: whether it has, or may before the minute is reported again.
    """
    todo = Placement()
    for row in decoded.rows:
        offset = row.record.offset
        if offset in inventory.decided:
            todo.remove_rows.extend({offset} & inventory.both)
        elif offset in inventory.both:
            todo.remove_letters.append(offset)
        elif offset not in inventory.letters:
            if expired(row):
                todo.expired.append(offset)
            else:
                todo.store.append(row)
        elif not leaving(row):
            todo.rescue.append(row)
    for letter in decoded.letters:
        if letter.offset not in inventory.letters:
            todo.file.append(letter)
            continue
        if inventory.letters[letter.offset] != letter.reason.value and letter.offset not in inventory.decided:
            todo.refile.append(letter)
        if letter.offset in inventory.both:
            todo.remove_rows.append(letter.offset)
    return todo
