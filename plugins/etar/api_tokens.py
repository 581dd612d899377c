"""Tokens of the report API: what the role of each may do."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What the holder of a token does."""

    READER = "reader"
    OPERATOR = "operator"
    WRITER = "writer"

    def may(self, needed: Role) -> bool:
        """Whether it does what ``needed`` does: an operator also reads, and each of the others does its own alone."""
        return self is needed or (self is Role.OPERATOR and needed is Role.READER)
