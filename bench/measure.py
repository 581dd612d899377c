"""What the benches share: variants that take turns, what a process cost, and the rows that come of it."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

BEFORE = "16c29e7"
"""The commit whose build is the baseline of what has become faster."""

Measured = TypeVar("Measured")


class Spent(NamedTuple):
    """What a process cost, from its start to its end, with those that it waited for."""

    cpu: float
    """Seconds."""
    wall: float
    """Seconds."""


def spent(command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], expected: int = 0) -> Spent:
    """Run a command in a folder; nobody reads what it prints.

    Raises:
        RuntimeError: it did not end with the exit code ``expected``.
    """
    began = os.times().elapsed
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = os.times().elapsed - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode} and not with {expected}")
    return Spent(usage.ru_utime + usage.ru_stime, wall)


def in_turn(
    variants: Mapping[str, Callable[[], Measured]], runs: int, *, warm_ups: int = 1
) -> dict[str, list[Measured]]:
    """Measure all variants, then all again: what else the machine does meanwhile meets each of them alike.

    Returns:
        What each variant gave, ``runs`` times, without the first ``warm_ups`` times.
    """
    found: dict[str, list[Measured]] = {name: [] for name in variants}
    for number in range(-warm_ups, runs):
        for name, measure in variants.items():
            measured = measure()
            if number >= 0:
                found[name].append(measured)
    return found


class Bar(NamedTuple):
    """What a figure has to be: ``ratio`` (ours to the baseline) or ``ours``, at least or at most so much."""

    of: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        sign, value = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{self.of} {sign} {value:g}"

    def is_met(self, ours: float, ratio: float | None) -> bool | None:
        """None where there is no baseline to compare with."""
        value = ours if self.of == "ours" else ratio
        if value is None:
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Row:
    """One figure: ours against a baseline, as medians of runs that took turns.

    Args:
        against: what the baseline is.
        spread: the least and the greatest ratio of ours to the baseline, of runs side by side.
    """

    figure: str
    unit: str
    ours: float
    against: str = ""
    baseline: float | None = None
    spread: tuple[float, float] | None = None
    runs: int = 1
    bar: Bar | None = None

    @classmethod
    def of(
        cls, figure: str, unit: str, ours: Sequence[float], baseline: Sequence[float], *, against: str, bar: Bar | None
    ) -> Row:
        """Of runs that took turns; without a baseline where none was measured, and without a ratio where it is 0: the
        bytes of an answer that has not changed."""
        median = statistics.median(ours)
        if not baseline:
            return cls(figure, unit, median, runs=len(ours), bar=bar)
        if not all(baseline):
            return cls(figure, unit, median, against, statistics.median(baseline), runs=len(ours), bar=bar)
        ratios = [mine / other for mine, other in zip(ours, baseline, strict=True)]
        spread = (min(ratios), max(ratios))
        return cls(figure, unit, median, against, statistics.median(baseline), spread, len(ours), bar)

    @property
    def ratio(self) -> float | None:
        """Ours to the baseline: 0.2 is a fifth."""
        return self.ours / self.baseline if self.baseline else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "unit": self.unit,
            "ours": self.ours,
            "against": self.against,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "spread": self.spread,
            "runs": self.runs,
            "bar": str(self.bar) if self.bar else None,
            "met": self.bar.is_met(self.ours, self.ratio) if self.bar else None,
        }


def options_of_a_figure(about: str | None) -> argparse.ArgumentParser:
    """What ``make bench`` gives each figure; a figure adds its own."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="checkout of another version, with its environment", metavar="DIR")
    parser.add_argument("--json", type=Path, help="where the rows go", metavar="FILE")
    return parser


def tell(rows: Iterable[Row], file: Path | None) -> int:
    """Print the rows, and write them to a file as ``make bench`` reads them; the exit code: 1 where a bar is missed."""
    told = [row.as_dict() for row in rows]
    print(table(told))
    if file:
        file.write_text(json.dumps(told, indent=2) + "\n")
    return 1 if any(row["met"] is False for row in told) else 0


_VERDICTS = {True: "met", False: "MISSED", None: ""}


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as :meth:`Row.as_dict` gives them, as Markdown."""
    lines = ["| figure | ours | baseline | ratio | bar | |", "|---|---|---|---|---|---|"]
    for row in rows:
        baseline = f"{_short(row['baseline'])} ({row['against']})" if row.get("against") else _short(row["baseline"])
        ratio = _short(row["ratio"])
        if row.get("spread") and row["ratio"] is not None:
            ratio += " ({} to {})".format(*map(_short, row["spread"]))
        ours = f"{_short(row['ours'])} {row.get('unit', '')}".strip()
        bar = "" if row["bar"] is None else _short(row["bar"])
        lines.append(f"| {row['figure']} | {ours} | {baseline} | {ratio} | {bar} | {_VERDICTS[row['met']]} |")
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "-" if value is None else str(value)
