"""What the page's figures have in common: colors, and how far back they reach."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from etar.ledger import LedgerEntry
from etar.report import PublishedReport

# Blue and vermillion of Okabe and Ito: told apart with every kind of color vision, and readable on white and on dark.
SUCCESS = "#0072B2"
ERROR = "#D55E00"


def hatched(*shapes: str) -> dict[str, object]:
    """Of bars, for who sees no color: each with one of plotly's patterns, or "" for none."""
    return {"shape": list(shapes), "fillmode": "overlay", "fgcolor": "rgba(255, 255, 255, 0.75)", "size": 7}


_OfMinute = TypeVar("_OfMinute", PublishedReport, LedgerEntry)


def recent(items: Sequence[_OfMinute], span: timedelta) -> list[_OfMinute]:
    """Those of ``items`` (oldest first) in the ``span`` that ends with the newest minute.

    The newest so many reports may reach back over a week in which nothing ran.
    """
    return [item for item in items if item.minute > items[-1].minute - span]
