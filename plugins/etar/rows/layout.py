"""Which columns a file of a stream's events may have. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Which columns a file may have, and which it must; ``exact``: JSON's numbers with a fraction are decimals."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    exact: bool = False
