"""A picture of figures: ``python -m bench.plot rows.json figures.svg`` draws ours against each baseline.

An SVG by hand: no library that we have writes one without another program.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

_LINE, _TEXT, _WIDTH, _TOP = 22, 470, 920, 30
_COLOURS = {True: "#2a7f62", False: "#c0392b", None: "#5b6b7b"}
"""By whether the bar is met; None: there is none."""


def drawing(rows: Sequence[dict[str, Any]]) -> str:
    """The ratios of ours to the baseline, the least and the greatest as a line, on a logarithmic scale."""
    shown = [row for row in rows if row["ratio"]]
    ratios = [each for row in shown for each in (row["ratio"], *(row.get("spread") or ()))]
    low, high = math.floor(math.log10(min([*ratios, 0.5]))), math.ceil(math.log10(max([*ratios, 2])))

    def x(ratio: float) -> float:
        return _TEXT + (math.log10(ratio) - low) / (high - low) * (_WIDTH - _TEXT - 20)

    height = _TOP + _LINE * len(shown) + 10
    marks = [
        f'<line x1="{x(10**power):.0f}" x2="{x(10**power):.0f}" y1="{_TOP - 8}" y2="{height}" stroke="#ccc"'
        f' stroke-width="{2 if power == 0 else 1}"/><text x="{x(10**power):.0f}" y="{_TOP - 12}" '
        f'text-anchor="middle">{10**power:g}</text>'
        for power in range(low, high + 1)
    ]
    for number, row in enumerate(shown):
        y = _TOP + _LINE * number + _LINE / 2
        colour = _COLOURS[row["met"]]
        name = escape(f"{row['figure'].replace('`', '')} / {row.get('against') or 'before'}")
        start, end = sorted((x(1), x(row["ratio"])))
        marks.append(
            f'<text x="{_TEXT - 8}" y="{y + 4:.0f}" text-anchor="end">{name}</text>'
            f'<rect x="{start:.1f}" y="{y - 6:.1f}" width="{end - start:.1f}" height="12" fill="{colour}"/>'
        )
        if row.get("spread"):
            first, last = map(x, row["spread"])
            marks.append(f'<line x1="{first:.1f}" x2="{last:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#000"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(marks)}</svg>\n'
    )


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(drawing(json.loads(source.read_text())["rows"]))
