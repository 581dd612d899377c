"""`--json`: of every command, or the reason why it has none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from cli import alerts
from cli.dead_letters import _tell
from cli.main import COMMANDS, app
from etar.alerts.targets import Outcome as Sent
from etar.dead_letter_office.office import Outcome
from etar.dead_letters.letters import LetterId

_DOES = "it does something, and prints that it has"
_TOKEN = "all that it prints to stdout is the token"
_BOOTSTRAP = "it makes what is not there, and prints that it has: `etar stream plan --json` says what it would make"
WITHOUT = {
    "up": "it runs until Ctrl-C: `GET /v1/reports/events` has the reports that it prints",
    "down": _DOES,
    "logs": "a log is text",
    "exec": "the output is that of another program",
    "clean": _DOES,
    "demo": "a show: `etar report --json` and `etar verify --json` have what it prints",
    "alerts silence": _DOES,
    "alerts unsilence": _DOES,
    "dead-letters export": "what it writes is JSON",
    "connect apply": "it asks first: `etar connect diff --json` and `status --json` have what it prints",
    "connect restart": "it prints what `etar connect status --json` has",
    "stream new": "a conversation",
    "stream schema": "what it prints is JSON",
    "stream forget-checkpoint": _DOES,
    "topic begin-anew": _DOES,
    "token create": _TOKEN,
    "token rotate": _TOKEN,
    "token revoke": _DOES,
    "bootstrap topics": _BOOTSTRAP,
    "bootstrap compatibility": _BOOTSTRAP,
    "bootstrap tables": _BOOTSTRAP,
    "bootstrap buckets": _BOOTSTRAP,
    "bootstrap report-store": _BOOTSTRAP,
}


def commands() -> Iterator[tuple[str, Any]]:
    for name, each in COMMANDS.items():
        command = each.load(name)
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {own}", inner[own]) for own in inner)


def test_every_command_prints_json_or_it_is_said_why_not() -> None:
    without = {name for name, command in commands() if not any("--json" in each.opts for each in command.params)}
    assert without == WITHOUT.keys()


def test_what_became_of_letters_is_a_line_of_json_each_and_a_refusal_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = [Outcome(LetterId(3, 1042), True, "replayed as 3:2000"), Outcome(LetterId(3, 1043), False, "no \x1b")]
    with pytest.raises(Exception) as ended:  # noqa: PT011  typer's own
        _tell(outcomes, applied=True, as_json=True)
    assert getattr(ended.value, "exit_code", None) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"letter": "3:1042", "done": True, "what": "replayed as 3:2000"},
        {"letter": "3:1043", "done": False, "what": "no \x1b"},
    ]


def test_the_targets_of_alerts_are_told_of_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sending:
        def __init__(self, messages: Iterable[Any]) -> None:
            pass

        def outcomes(self, *, wait_seconds: float) -> list[Sent]:
            return [Sent(uuid4(), "chat", None), Sent(uuid4(), "mail", "refused")]

    monkeypatch.setattr(alerts, "Sending", Sending)
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", "chat=json://127.0.0.1:1 mail=json://127.0.0.1:2 hook=json://127.0.0.1:3")
    told = CliRunner().invoke(app, ["alerts", "test", "--json"])
    assert told.exit_code == 1
    assert json.loads(told.stdout) == [
        {"target": "chat", "taken": True, "problem": None},
        {"target": "mail", "taken": False, "problem": "refused"},
        {"target": "hook", "taken": False, "problem": "no answer within 120 s"},
    ]
