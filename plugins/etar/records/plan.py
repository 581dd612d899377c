"""From the fields of a record to the values of a row: which field goes into which column, and what is wrong where."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from etar.dead_letters import Reason
from etar.records.column_types import Declared, OutOfRangeError, WrongValueError
from etar.records.record import BadRecordError
from etar.records.table import TableLayout


class Plan:
    """Of the records of one writer schema and the columns of one table.

    A column takes the field of its name. One with points in its name, ``device.os``, takes the field ``os`` of the
    nested record ``device``, unless there is a field of the whole name.
    """

    def __init__(self, layout: TableLayout, declared: Declared, *, absent: str) -> None:
        """
        Args:
            declared: of the record as a whole.
            absent: what the detail of a letter says of a field that is not there.
        """
        steps = [(column.name, _declared_at(declared, column.name), column) for column in layout.fields]
        self._plan = [(name, column.converter(of_field)) for name, of_field, column in steps]
        self._logical_types = {name: of_field.logical_type for name, of_field, _ in steps}
        self._flat = not any("." in name for name, _ in self._plan)
        self._absent = absent

    def values(self, datum: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of one record, in the order of :attr:`TableLayout.fields`.

        Raises:
            BadRecordError: a value does not fit its column.
        """
        try:
            find = datum.get if self._flat else partial(_find, datum)
            return tuple([convert(find(name)) for name, convert in self._plan])
        except (WrongValueError, OutOfRangeError):
            raise self._first_misfit(datum) from None

    def _first_misfit(self, datum: Mapping[str, Any]) -> BadRecordError:
        """Which field it was: found by converting again, so that the good records need not keep track."""
        for name, convert in self._plan:
            value = _find(datum, name)
            try:
                convert(value)
            except WrongValueError as error:
                if value is None and name not in datum:
                    found = self._absent
                else:
                    logical_type = self._logical_types[name]
                    found = f"{error}{f' of logical type {logical_type}' if logical_type else ''}"
                return BadRecordError(Reason.MISSING_OR_WRONG_FIELD, f"{name}: {found}")
            except OutOfRangeError as error:
                return BadRecordError(Reason.OUT_OF_RANGE, f"{name}: {error}")
        raise AssertionError("a conversion that failed a moment ago succeeded")


def _declared_at(declared: Declared, name: str) -> Declared:
    for part in name.split("."):
        declared = declared.field(part)
    return declared


def _find(datum: Mapping[str, Any], name: str) -> Any:
    """A field, or None where there is none."""
    if name in datum or "." not in name:
        return datum.get(name)
    found: Any = datum
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
