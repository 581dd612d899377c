"""Which field of a record its reason is about, as the letter's detail names it: here, and in the warehouse's own SQL.

The details are written by ``etar.records``: ``amount: expected …``, ``basket.2.price: minimum of the JSON Schema: …``,
``event_time 1970-01-21T… is …``. A path with a blank or a colon in it cannot be told from words, and is not named.
"""

from __future__ import annotations

import re

from etar.dead_letters import Reason

# The engine's expressions are RE2's, these are of both. Without a backslash, SQL's text is the pattern as it is.
_AT_THE_START = "^([^ :]+)(?:: | [0-9]+-)"
_REQUIRED = ': required of the JSON Schema: "([^"]+)" is a required property'

_NAMING = (
    Reason.MISSING_OR_WRONG_FIELD,
    Reason.OUT_OF_RANGE,
    Reason.EVENT_TIME_OUT_OF_BOUNDS,
    Reason.TOO_LATE,
)
"""Reasons whose detail begins with a field, if with any."""

SQL = (
    f"if(reason IN ({', '.join(repr(reason.value) for reason in _NAMING)}), arrayStringConcat(arrayFilter(part -> "
    f"part != '', [extract(detail, '{_AT_THE_START}'), extract(detail, '{_REQUIRED}')]), '.'), '')"
)
"""The same as :func:`failing_field` of a row of the table; an empty text for none."""


def failing_field(reason: Reason, detail: str) -> str | None:
    """Path of the field, its parts joined by points; None where the detail names none."""
    if reason not in _NAMING:
        return None
    found = (re.search(pattern, detail) for pattern in (_AT_THE_START, _REQUIRED))
    return ".".join(match[1] for match in found if match) or None
