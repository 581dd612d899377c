"""What a shell is offered after Tab, asked as its script asks: ``etar --show-completion`` prints that."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from stack.configuration import prepare_settings
from stack.layout import Layout


@pytest.fixture
def stack(tmp_path: Path) -> Layout:
    layout = Layout.at(tmp_path / "stack")
    layout.root.mkdir()
    prepare_settings(layout.settings_file, {}, datetime(2026, 11, 21, tzinfo=UTC))
    layout.log("sink").parent.mkdir(parents=True)
    layout.log("sink").write_text("")
    return layout


def offered(words: str) -> list[str]:
    given = {"_ETAR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = CliRunner().invoke(app, env=given, prog_name="etar")
    assert result.exit_code == 0, result.output
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("etar ver", ["verify"]),
        ("etar dead-letters l", ["list"]),
        ("etar verify --acc", ["--account"]),
        ("etar minutes --state rep", ["reported"]),
        ("etar cost --stream tr", ["transactions"]),
        ("etar verify --stream tr", ["transactions"]),
        ("etar produce --stream tr", ["transactions"]),
        ("etar stream check tr", ["transactions"]),
        ("etar stream new tr", []),
    ],
)
def test_commands_options_states_and_streams(words: str, found: list[str]) -> None:
    assert offered(words) == found


def test_parts_are_those_that_have_a_log(stack: Layout) -> None:
    assert offered(f"etar logs --dir {stack.root} ") == ["sink"]


@pytest.mark.parametrize("words", ["etar cost --stream ", "etar logs "])
def test_settings_that_cannot_be_read_offer_nothing_and_say_nothing(
    words: str, stack: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_DIR", str(stack.root))
    stack.settings_file.unlink()
    stack.settings_file.mkdir()
    assert offered(words) == []


def test_the_script_of_a_shell_asks_like_that() -> None:
    shown = CliRunner().invoke(app, ["--show-completion", "bash"], prog_name="etar").stdout
    assert "_ETAR_COMPLETE=complete_bash" in shown
    assert shown.rstrip().endswith("etar")
