"""Text that anybody may have written, made fit to be shown."""

from __future__ import annotations

from collections.abc import Iterator

_BYTES_A_LINE = 16


def printable(text: str) -> str:
    """The text with U+FFFD for all that does not print: what a terminal would obey, halves of characters, U+0000."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def hex_lines(raw: bytes, most: int) -> Iterator[str]:
    """The first ``most`` of some bytes as a dump: offset, 16 bytes in hex, and the same as ASCII."""
    for start in range(0, min(len(raw), most), _BYTES_A_LINE):
        part = raw[start : min(start + _BYTES_A_LINE, most)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * _BYTES_A_LINE - 1}}  {text}"
