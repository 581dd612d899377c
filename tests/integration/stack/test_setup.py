"""The set-up script on a machine where something is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from stack.layout import REPOSITORY

NEEDED_BY_BASH = ("bash", "dirname", "grep", "sed")


def run_setup(path: Path) -> subprocess.CompletedProcess[str]:
    setup = [str(path / "bash"), str(REPOSITORY / "stack" / "setup.sh")]
    return subprocess.run(setup, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def almost_empty_machine(tmp_path: Path) -> Path:
    for name in NEEDED_BY_BASH:
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return tmp_path


def test_everything_missing_is_named_at_once(almost_empty_machine: Path) -> None:
    done = run_setup(almost_empty_machine)
    assert done.returncode == 1
    for command in ("python3.11", "java", "mvn", "go", "setpriv"):
        assert f"etar: {command} is missing; install " in done.stderr


def test_another_java_is_named_as_not_what_is_needed(almost_empty_machine: Path) -> None:
    java = almost_empty_machine / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    (almost_empty_machine / "sh").symlink_to("/bin/sh")
    done = run_setup(almost_empty_machine)
    assert done.returncode == 1
    assert "etar: java is there but not as needed; install a Java 17 runtime" in done.stderr
