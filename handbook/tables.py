"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(*heading: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, and an empty one behind them; none without rows."""
    lines = [" | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) for row in rows]
    if lines:
        yield f"| {' | '.join(heading)} |"
        yield "|" + "---|" * len(heading)
        yield from (f"| {line} |" for line in lines)
        yield ""
