"""What a stream's page shows, as plain values: ``page.py`` of its folder names fields of its report, and nothing of how
they are drawn.

.. code-block:: python

    METRICS = (Metric("revenue", "Revenue", form=Form.DECIMAL, about="Of all sales of the minute"),)
    CHARTS = (Bars("By category", field="categories"), Lines((Line("revenue", "Revenue", form=Form.DECIMAL),)))

Without a ``page.py`` the page is made of the report itself (:func:`page_of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeAlias

_MOST_METRICS = 6
_MOST_LINES = 3
_NO_METRICS = frozenset(
    {"schema_version", "stream", "minute", "total_events", "rows_read", "source_object", "revision", "published_at"}
)


class Form(StrEnum):
    """How a value is written."""

    NUMBER = "number"
    """With its thousands apart; of a fraction two digits."""
    PERCENT = "percent"
    """A share from 0 to 1, as a percentage."""
    DECIMAL = "decimal"
    """A text of digits, exactly as it is, with its thousands apart."""
    TEXT = "text"

    def written(self, value: object) -> str:
        """The value as people read it; a dash for none, and for one that is of another form."""
        if value is None or isinstance(value, bool | Mapping | list):
            return "-" if not isinstance(value, bool) else str(value).lower()
        if self is Form.TEXT or not isinstance(value, int | float | str | Decimal):
            return str(value)
        if self is Form.DECIMAL:
            return f"{number:,f}" if (number := _exact(value)) is not None else "-"
        if isinstance(value, str):
            return "-"
        if self is Form.PERCENT:
            return f"{value:.2%}"
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"

    def changed(self, value: object, before: object) -> str | None:
        """By how much it is more, with its sign; None for what has no difference."""
        if self is Form.TEXT:
            return None
        new, old = _as_number(value), _as_number(before)
        if new is None or old is None:
            return None
        exact = Decimal(str(new)), Decimal(str(old))
        if not all(each.is_finite() for each in exact):
            return None
        difference = exact[0] - exact[1]
        if difference == 0:
            return "±0"
        if self is Form.PERCENT:
            return f"{difference * 100:+.2f}pp"
        whole = isinstance(new, int) and isinstance(old, int)
        return f"{difference:+,f}" if whole or self is Form.DECIMAL else f"{difference:+,.2f}"


class Tone(StrEnum):
    """What a bar or a line says by its color."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Metric:
    """A number above the charts."""

    field: str
    """Of the report; ``total_events`` and ``rows_read`` are every report's."""
    name: str
    form: Form = Form.NUMBER
    about: str = ""


@dataclass(frozen=True)
class Part:
    """One of the numbers that a bar is made of."""

    field: str
    name: str
    tone: Tone = Tone.GOOD
    counted: str = ""
    """What one of it is called behind the bar, where that is worth saying: ``error``."""


@dataclass(frozen=True)
class Bars:
    """A bar for each entry of a mapping: to a number, or to a mapping of which ``parts`` are stacked."""

    title: str
    field: str
    parts: tuple[Part, ...] = ()
    order: tuple[str, ...] = ()
    """Entries that always have a bar, in this order; the others follow by name."""
    form: Form = Form.NUMBER
    most: int = 30
    """Bars shown; beyond them the longest."""


@dataclass(frozen=True)
class Line:
    """A number of each minute over time."""

    field: str
    name: str
    form: Form = Form.NUMBER
    tone: Tone = Tone.GOOD


@dataclass(frozen=True)
class Lines:
    """Lines over the same minutes, one above the other, each with an axis of its own."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """The newest minute's list of mappings, a row each, or a mapping, a row for each entry."""

    title: str
    field: str


Chart: TypeAlias = Bars | Lines | Table

EVENTS = Metric("total_events", "Events", about="Unique events: one that was sent twice counts once")
EVENTS_A_MINUTE = Line("total_events", "Events a minute")


@dataclass(frozen=True)
class Page:
    """All that a stream's page has of its own."""

    metrics: tuple[Metric, ...]
    charts: tuple[Chart, ...]


def page_of(body: Mapping[str, Any]) -> Page:
    """A page of what a report says, for a stream that has none of its own: its numbers are metrics and lines, a mapping
    to numbers is bars, whatever else is nested is a table."""
    metrics: list[Metric] = []
    charts: list[Chart] = []
    for field, value in body.items():
        if field in _NO_METRICS:
            continue
        if isinstance(value, Mapping):
            numbers = bool(value) and all(_as_number(each) is not None for each in value.values())
            charts.append(Bars(in_words(field), field, form=_form(*value.values())) if numbers else _table(field))
        elif isinstance(value, list):
            charts.append(_table(field))
        else:
            metrics.append(Metric(field, in_words(field), _form(value)))
    lines = [Line(each.field, each.name, each.form) for each in metrics if _as_number(body.get(each.field)) is not None]
    history = Lines((EVENTS_A_MINUTE, *lines[: _MOST_LINES - 1]))
    return Page((EVENTS, *metrics[: _MOST_METRICS - 1]), (history, *charts))


def in_words(name: str) -> str:
    """``add_to_cart`` as a person reads it: ``Add to cart``."""
    return name.replace("_", " ").capitalize()


def _table(field: str) -> Table:
    return Table(in_words(field), field)


def _form(*values: object) -> Form:
    if any(isinstance(value, str) for value in values):
        return Form.DECIMAL if all(_exact(value) is not None for value in values) else Form.TEXT
    return Form.NUMBER


def _as_number(value: object) -> float | Decimal | None:
    """A number, or the number that a text of digits is."""
    if isinstance(value, bool):
        return None
    return value if isinstance(value, int | float) else _exact(value)


def _exact(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
