"""Rows of a file as records for Kafka: those like most others whole columns at a time, the others value by value.

Encoding goes field by field, because Avro is its fields one after the other: a country is encoded once for a million
rows. What comes out is what the registry's serializer makes of the same event (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etar.rows.columns import Column, python_values
from etar.rows.conversion import Converted, Records, Row, SizeLimit
from etar.rows.values import RowError, Values

from .input_cells import DAY_MS, FIELDS, LAYOUT, Cell, event_id_cell, key_of, memories_of, session_cell
from .input_columns import WholeColumns

_READ_IN_ORDER = (*LAYOUT.required, *(name for name in FIELDS if name not in LAYOUT.required))
_REMEMBERED_SESSIONS = 50_000

_KEY_BYTES = 16


class RowConverter:
    """Makes records of rows.

    Args:
        values: what the file's values mean.
        header: what stands before the Avro of a record: the magic byte and the schema's id.
        longest: bytes of the largest batch that the topic takes; None: no limit.
    """

    LAYOUT = LAYOUT

    def __init__(self, values: Values, header: bytes, longest: int | None = None) -> None:
        self._limit = SizeLimit(longest)
        self._one_by_one = OneByOne(values, header)
        self._whole = WholeColumns(
            values, header, self._one_by_one.memories, session=session_cell, status_of=self._one_by_one.status_of
        )

    def convert(self, columns: Mapping[str, Column], rows: int) -> Converted:
        """Records of ``rows`` rows. A field without a column is not given.

        Not given, ``status`` is error if there is an error_code and else success, ``device`` and ``country`` are
        ``unknown``, and ``session_id`` is the user's for that day. An ``event_id`` that is not given follows from the
        other values, so that the same line, sent twice or in another file, is still one event.
        """
        whole = self._whole.records(columns, rows)
        if whole is None:
            return self._limit.converted(self._one_by_one.convert(python_values(columns), rows))
        values = whole.values.to_pylist()
        if not whole.values.null_count and self._all_fit(whole.values):
            return Converted(Records(whole.times, whole.keys, values), {})
        left = np.flatnonzero(whole.values.is_null())
        others = iter(self._one_by_one.convert(python_values(columns, left), len(left)))
        made = zip(whole.times.tolist(), whole.keys, values, strict=True)
        return self._limit.converted([next(others) if row[2] is None else Row(*row) for row in made])

    def _all_fit(self, values: pa.BinaryArray) -> bool:
        largest = self._limit.largest
        return largest is None or (pc.max(pc.binary_length(values)).as_py() or 0) + _KEY_BYTES <= largest


class OneByOne:
    """Makes records of rows value by value, whatever they are: what is right, and slow.

    Args:
        values, header: as of :class:`RowConverter`.
    """

    def __init__(self, values: Values, header: bytes) -> None:
        self._header = header
        self.memories = memories_of(values)
        self._sessions: dict[tuple[str, int], Cell] = {}
        self._success: Cell = self.memories["status"].cell("success")
        self._error: Cell = self.memories["status"].cell("error")

    def convert(self, columns: Mapping[str, Sequence[object]], rows: int) -> list[Row | RowError]:
        """A record for each of ``rows`` rows, or why it is none."""
        errors: dict[int, RowError] = {}
        cells: dict[str, list[Any]] = {}
        for name in _READ_IN_ORDER:
            memory = self.memories[name]
            cells[name] = memory.read(columns[name]) if name in columns else [memory.cell(None)] * rows
            if memory.refused:
                for number, cell in enumerate(cells[name]):
                    if isinstance(cell, RowError):
                        errors.setdefault(number, cell)
        if errors:
            good = [number for number in range(rows) if number not in errors]
            cells = {name: [column[number] for number in good] for name, column in cells.items()}
        made = iter(self._made(cells))
        return [errors[number] if number in errors else next(made) for number in range(rows)] if errors else list(made)

    def status_of(self, error_code: Cell) -> Cell:
        """The status that follows from an error code."""
        return self._success if error_code[0] is None else self._error

    def _made(self, cells: dict[str, list[Cell]]) -> Iterable[Row]:
        """Records of rows of which each has all cells; those that are not given are put in."""
        users = [cell[0] for cell in cells["user_id"]]
        times = [cell[0] for cell in cells["event_time"]]
        cells["session_id"] = [
            cell if cell[0] is not None else self._session(user, at)
            for cell, user, at in zip(cells["session_id"], users, times, strict=True)
        ]
        cells["status"] = [
            cell if cell[0] is not None else self.status_of(error_code)
            for cell, error_code in zip(cells["status"], cells["error_code"], strict=True)
        ]
        if any(cell[0] is None for cell in cells["event_id"]):
            others = zip(*(cells[name] for name in FIELDS if name != "event_id"), strict=True)
            cells["event_id"] = [
                cell if cell[0] is not None else _event_id(fields)
                for cell, fields in zip(cells["event_id"], others, strict=True)
            ]
        encoded = (map(itemgetter(1), cells[name]) for name in FIELDS)
        values = map(b"".join, zip(repeat(self._header, len(times)), *encoded, strict=True))
        keys = map(key_of, users)
        return map(Row, times, keys, values)

    def _session(self, user: str, event_time: int) -> Cell:
        key = user, event_time // DAY_MS
        cell = self._sessions.get(key)
        if cell is None:
            if len(self._sessions) > _REMEMBERED_SESSIONS:
                self._sessions.clear()
            self._sessions[key] = cell = session_cell(*key)
        return cell


def _event_id(fields: Iterable[Cell]) -> Cell:
    return event_id_cell(", ".join([cell[2] for cell in fields]).encode())
