"""The rules of a JSON Schema about how large a number is, held exactly: given to the library in place of its own.

jsonschema-rs 0.61 takes Decimals and compares most of them as they are, but goes through a float where the rule's
number is a whole one: it lets 9.99999999999999999999 pass for ``"minimum": 10.0``, and 9.00000000000000000000006 for a
multiple of 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from etar.records.column_types import MOST_DIGITS

_Number = int | Decimal
_Holds = Callable[[_Number, _Number], bool]

_LONG = Context(prec=4 * MOST_DIGITS, traps=[InvalidOperation])
"""Holds the quotient of any two numbers that are read."""


def _is_multiple(value: _Number, of: _Number) -> bool:
    if type(value) is int and type(of) is int:
        return value % of == 0
    return not _LONG.remainder(Decimal(value), Decimal(of))


def _rule(name: str, what: str, holds: _Holds, strict: _Holds | None = None) -> type:
    """A keyword as jsonschema-rs takes one.

    Args:
        strict: what holds where draft 4's ``exclusiveMinimum: true`` or ``exclusiveMaximum: true`` stands beside it.
    """

    class Rule:
        def __init__(self, parent: Mapping[str, Any], limit: Any, _path: object) -> None:
            # Draft 4 has it beside the limit; of itself it then says nothing.
            self._limit = None if isinstance(limit, bool) else _exact(limit)
            exclusive = parent.get(f"exclusive{name[0].upper()}{name[1:]}") is True
            self._holds = strict if exclusive and strict else holds

        def validate(self, value: Any) -> None:
            if self._limit is None or isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                return
            number = _exact(value)
            if number is None or not self._holds(number, self._limit):
                raise ValueError(f"{value} is not {what} {self._limit}")

    return Rule


def _exact(number: Any) -> _Number | None:
    """A float is the number of its digits: the library makes one only of a text that is the same number."""
    if isinstance(number, float):
        number = Decimal(repr(number))
    return number if isinstance(number, int | Decimal) else None


RULES: dict[str, type[Any]] = {
    "minimum": _rule("minimum", "at least", operator.ge, operator.gt),
    "maximum": _rule("maximum", "at most", operator.le, operator.lt),
    "exclusiveMinimum": _rule("exclusiveMinimum", "more than", operator.gt),
    "exclusiveMaximum": _rule("exclusiveMaximum", "less than", operator.lt),
    "multipleOf": _rule("multipleOf", "a multiple of", _is_multiple),
}
