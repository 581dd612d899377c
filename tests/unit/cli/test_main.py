"""The list of ``etar``'s commands, which is made without importing one of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_first_line_of_its_own_help(name: str) -> None:
    own: str = COMMANDS[name].load(name).help
    assert COMMANDS[name].help == own.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def test_the_list_shows_every_command_and_imports_none() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom cli.main import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "watched = ('cli', 'producer', 'etar', 'stack', 'pydantic', 'rich')\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in watched))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    words = " ".join(shown.split())
    assert all(f" {name} {each.help}" in words for name, each in COMMANDS.items())
    assert shown.splitlines()[-1] == "['cli', 'cli.lazy', 'cli.main']"


def test_a_command_of_a_group_and_its_options_are_found() -> None:
    shown = CliRunner().invoke(app, ["dead-letters", "list", "-h"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "--summary" in shown.output


def test_a_misspelt_command_is_refused_with_the_nearest() -> None:
    refused = CliRunner().invoke(app, ["verifi"])
    assert refused.exit_code == 2
    assert "Did you mean 'verify'?" in refused.output
