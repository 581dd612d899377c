"""``make bench``: every figure, or those that are named, as one table.

    make bench                                  all of them; hours
    make bench ONLY="command-start extract"     some of them
    make bench JSON=figures.json                and as JSON: the machine, and a row for each figure

A figure is a program of this folder, which measures its variants in turn and gives rows (:mod:`bench.measure`). What
does not reach its bar is listed below the table; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.baseline import checkout
from bench.machine import description
from bench.measure import table
from stack.layout import REPOSITORY


@dataclass(frozen=True)
class Figure:
    """A program of this folder that takes ``--json FILE`` and, where it compares builds, ``--against DIR``."""

    program: str
    compares_builds: bool = True
    options: tuple[str, ...] = ()


FIGURES = {
    "command-start": Figure("command_start.py"),
    "extract": Figure("extract.py", compares_builds=False),
    "produce": Figure("produce.py"),
    "sink": Figure("sink.py"),
    "queries": Figure("queries.py"),
    "per-event": Figure("per_event.py"),
    "idle": Figure("idle.py"),
    "many-streams": Figure("many_streams.py", compares_builds=False),
    "freshness": Figure("freshness.py"),
    "backfill": Figure("backfill.py", compares_builds=False),
    "category-sales": Figure("category_sales.py", compares_builds=False),
    "catch-up": Figure("catch_up.py", compares_builds=False, options=("--rate", "2000")),
}


def rows_of(name: str, figure: Figure) -> list[dict[str, Any]]:
    """Run a figure; a program that breaks is a row of its own, and the others go on."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, str(REPOSITORY / "bench" / figure.program), "--json", str(file), *figure.options]
        if figure.compares_builds:
            command += ["--against", str(checkout())]
        print(f"\n{name}", flush=True)
        done = subprocess.run(command, cwd=REPOSITORY, check=False)
        if file.exists():
            rows: list[dict[str, Any]] = json.loads(file.read_text())
            return rows
    failed = f"{figure.program} ended with {done.returncode} and gave no rows"
    return [dict.fromkeys(("ours", "baseline", "ratio", "bar")) | {"figure": f"{name}: {failed}", "met": False}]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FIGURES)}; all without any", metavar="FIGURE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(FIGURES):
        parser.error(f"no figure is called {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    began = datetime.now(UTC)
    rows = [row for name in asked.names or FIGURES for row in rows_of(name, FIGURES[name])]
    machine = description()
    print(f"\n{', '.join(f'{name} {value}' for name, value in machine.items())}\n")
    print(table(rows))
    missed = [row["figure"] for row in rows if row["met"] is False]
    print(f"\nwhere we do not reach the bar: {'; '.join(missed) or 'nowhere'}")
    if asked.json:
        found = {"began": began.isoformat(timespec="seconds"), "machine": machine, "rows": rows}
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
