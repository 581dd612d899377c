"""The report of the first stream, as etar loads it: a class imported by its file's name would be another class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etar.stream_code import load
from etar.streams import default_stream

if TYPE_CHECKING:
    from streams.user_interactions.report import (
        EVENT_TYPES,
        OTHER_TYPES,
        UNKNOWN_TYPES_LISTED,
        Outcomes,
        Report,
        transform,
    )
else:
    EVENT_TYPES, OTHER_TYPES, UNKNOWN_TYPES_LISTED, Outcomes, Report, transform = (
        load(default_stream(), f"report:{name}")
        for name in ("EVENT_TYPES", "OTHER_TYPES", "UNKNOWN_TYPES_LISTED", "Outcomes", "Report", "transform")
    )

__all__ = ["EVENT_TYPES", "OTHER_TYPES", "UNKNOWN_TYPES_LISTED", "Outcomes", "Report", "transform"]
