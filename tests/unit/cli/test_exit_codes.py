"""Exit codes of commands, each where it needs no running part."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import stream
from cli.main import app
from stack.configuration import prepare_settings
from stack.layout import REPOSITORY, VENV_BIN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack's that has never run."""
    prepare_settings(tmp_path / "settings.env", {}, datetime(2026, 11, 21, tzinfo=UTC))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["stream", "schema"], 0),
        (["logs", "sink"], 1),
        (["minutes", "noon"], 1),
        (["clean"], 1),  # answered with no
        (["minutes", "--limit", "0"], 2),
        (["produce", "--stream", "nobody"], 2),
        (["produce", "--input", "nowhere.csv"], 2),
        (["produce", "--for", "1s", "--workers", "2", "--rate", "-1"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_done_refused_and_not_understood(words: list[str], code: int, folder: Path) -> None:
    result = CliRunner().invoke(app, words, env={"ETAR_DIR": str(folder)}, input="n\n")
    assert result.exit_code == code, result.output
    assert (folder / "settings.env").exists()


def test_an_interrupted_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream, "_catalogue", interrupted)
    assert CliRunner().invoke(app, ["stream", "list"]).exit_code == 130


@pytest.mark.parametrize(("program", "code"), [("exit 7", 7), ("exit 0", 0)])
def test_exec_ends_as_what_it_ran(program: str, code: int, folder: Path) -> None:
    command = [str(VENV_BIN / "etar"), "exec", "--dir", str(folder), "sh", "-c", program]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == code
