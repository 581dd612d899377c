"""Processor time of `etar` itself, from its start to its end: the list of commands, and the state of a stopped stack.

.venv/bin/python bench/command_start.py --against ../before
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.measure import Bar, Row, in_turn, options_of_a_figure, spent, tell
from stack.layout import REPOSITORY

_BAR = Bar("ours", at_most=0.3)
_COMMANDS = {
    ("--help",): (0, _BAR),
    ("status",): (1, _BAR),
    ("status", "--help"): (0, None),
    ("verify", "--help"): (0, None),
}
"""Arguments, the exit code, and what is wanted."""

_MAKE_STACK = """\
import sys
from datetime import UTC, datetime
from pathlib import Path
from stack.configuration import prepare_settings
from stack.layout import Layout
layout = Layout.at(Path(sys.argv[1]))
layout.create()
prepare_settings(layout.settings_file, {}, datetime.now(UTC))
"""


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--runs", type=int, default=11)
    asked = parser.parse_args()
    versions = {"ours": REPOSITORY} | ({"before": asked.against.resolve()} if asked.against else {})
    against = asked.against.name if asked.against else ""
    # Every version reads its modules compiled, as at a person's second command.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stopped = {name: Path(folder) / name for name in versions}
        for name, version in versions.items():
            make = [version / ".venv" / "bin" / "python", "-c", _MAKE_STACK, stopped[name]]
            spent(make, folder=version, environment=environment)
        for arguments, (expected, bar) in _COMMANDS.items():
            found = in_turn(
                {
                    name: partial(
                        spent,
                        [version / ".venv" / "bin" / "etar", *arguments],
                        folder=version,
                        environment=environment | {"ETAR_DIR": str(stopped[name])},
                        expected=expected,
                    )
                    for name, version in versions.items()
                },
                asked.runs,
            )
            cpu = {name: [run.cpu for run in runs] for name, runs in found.items()}
            title = f"`etar {' '.join(arguments)}`" + (" of a stopped stack" if arguments == ("status",) else "")
            rows.append(Row.of(title, "s of CPU", cpu["ours"], cpu.get("before", []), against=against, bar=bar))
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
