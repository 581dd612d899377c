"""Text that anybody may have written, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with U+FFFD for all that does not print: what a terminal would obey, halves of characters, U+0000."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
