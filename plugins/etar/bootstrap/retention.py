"""For how long a table keeps a minute, by what an engine says of it: no client of one is needed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

_EXPIRES = re.compile(r"\bTTL (?P<after>event_minute \+ [^\s,]+)")


def kept_for(engine_full: str, ask: Callable[[str], int | str]) -> timedelta | None:
    """How long after its start a minute leaves the table; None: nothing leaves it by its minute.

    Args:
        engine_full: the table's, of ``system.tables``.
        ask: has an engine answer a query of one value.
    """
    expires = _EXPIRES.search(engine_full)
    if expires is None:
        return None
    seconds = ask(
        f"SELECT dateDiff('second', event_minute, {expires['after']}) "
        "FROM (SELECT toDateTime(0, 'UTC') AS event_minute)"
    )
    return timedelta(seconds=int(seconds))
