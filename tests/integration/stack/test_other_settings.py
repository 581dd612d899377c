"""`etar up` with other settings on a stack that runs: refused, and the stack goes on as it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from stack import lifecycle
from stack.configuration import SettingsError
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import Stack, parts_of
from stack.supervision import Supervisor
from tests.conftest import new_stack


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack whose supervisor runs; of its parts, which would have to be started one by one, none."""
    with new_stack({"ETAR_DEMO_RATE": "0"}) as stack:
        Supervisor(stack).spawn(parts_of(stack))
        try:
            yield stack
        finally:
            lifecycle.stop(stack, lambda _: None)


@pytest.mark.parametrize(
    ("name", "value"), [("ETAR_PORT_API", "1"), ("ETAR_DEMO_RATE", "50"), ("ETAR_PIPELINE_GRACE_SECONDS", "9")]
)
def test_other_settings_are_refused_before_they_are_saved(stack: Stack, name: str, value: str) -> None:
    before = stack.layout.settings_file.read_text()
    with pytest.raises(SettingsError, match=f"{name}.*etar down"):
        lifecycle.start(stack.layout, {name: value}, lambda _: None)
    assert stack.layout.settings_file.read_text() == before


def test_a_file_edited_since_names_the_parts_that_it_adds(stack: Stack) -> None:
    file = stack.layout.settings_file
    file.write_text(file.read_text().replace("ETAR_STACK_SPARK=resident", "ETAR_STACK_SPARK=standalone"))
    with pytest.raises(SettingsError, match=r"spark-master, spark-worker.*etar down"):
        lifecycle.start(stack.layout, {}, lambda _: None)


def test_a_command_that_is_refused_does_not_stop_what_runs(stack: Stack) -> None:
    up = subprocess.run(
        [str(VENV_BIN / "etar"), "up", "--dir", str(stack.layout.root)],
        env={**os.environ, "ETAR_STACK_SPARK": "standalone"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert up.returncode == 1
    assert "ETAR_STACK_SPARK" in up.stderr
    assert "etar down" in up.stderr
    assert "Traceback" not in up.stderr
    assert Supervisor(stack).is_running()
