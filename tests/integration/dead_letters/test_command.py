"""``etar dead-letters`` as a person types it, on real parts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import dead_letters as command
from etar.settings import get_settings
from tests.integration.dead_letters.conftest import Desk

Etar = Callable[..., Result]


@pytest.fixture
def etar(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Etar:
    monkeypatch.setattr(command, "stream_named", lambda _: desk.stream)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["etar", "dead-letters", *arguments])
        return CliRunner().invoke(command.app, [*arguments, "--dir", str(tmp_path / "no-stack")])

    return run


def test_from_the_list_to_a_row(desk: Desk, etar: Etar, tmp_path: Path) -> None:
    sent = desk.one_of_each_kind()
    desk.consume()

    listed = etar("list")
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [str(letter) for letter in sent]
    assert [line.split()[2] for line in etar("list", "--reason", "truncated").stdout.splitlines()] == ["truncated"]
    some = etar("list", "--limit", "3")
    assert len(some.stdout.splitlines()) == 3
    assert "and more" in some.stderr
    assert [json.loads(line)["offset"] for line in etar("list", "--json", "2:1", "2:2").stdout.splitlines()] == [1, 2]
    assert etar("list", "--to", "2026-01-01T00:00Z").stdout == ""
    counts = json.loads(etar("list", "--summary", "--json").stdout)
    assert counts["truncated"] == {"unfiled": 0, "open": 1, "replayed": 0, "discarded": 0}
    assert etar("list", "--summary").stdout.splitlines()[-1].split() == ["total", "0", str(len(sent)), "0", "0"]

    shown = etar("show", "2:0").stdout
    assert "not_avro" in shown
    assert "7b 22 65 76" in shown
    assert '{"event_id' in shown
    assert json.loads(etar("show", "2:2", "--json").stdout)["form"] == "Avro, in part"

    file = tmp_path / "bad.jsonl"
    assert f"{len(sent)} dead letters" in etar("export", str(file)).stdout
    assert len(file.read_text().splitlines()) == len(sent)

    would = etar("replay", "2:3", "--patch", "[]")
    assert would.exit_code == 0
    assert [line.strip() for line in would.stdout.splitlines()] == [
        "2:3  would be replayed",
        "1 would be replayed",
        "nothing was changed: --apply does it",
    ]
    assert etar("fix", "2:3", "--patch", "[]", "--apply").stdout.splitlines()[-1] == "1 fixed"
    assert "which a replay sends" in etar("show", "2:3").stdout
    assert etar("replay", "2:3", "--apply").stdout.splitlines()[-1] == "1 replayed"
    assert "etar dead-letters replay 2:3 --apply" in etar("show", "2:3").stdout
    assert json.loads(etar("list", "--summary", "--json").stdout)["trailing_bytes"]["replayed"] == 1
    refused = etar("replay", "2:3", "--apply")
    assert refused.exit_code == 1
    assert "--again" in refused.stdout
    desk.consume()
    assert desk.rows() == (1, 1)

    assert etar("discard", "--reason", "null_value", "--reason-text", "theirs", "--apply").exit_code == 0
    assert [line.split()[0] for line in etar("list", "--state", "discarded").stdout.splitlines()] == ["2:4"]
    assert "2:4" not in [line.split()[0] for line in etar("list").stdout.splitlines()]
    assert etar("discard", "2:4", "--undo", "--reason-text", "ours", "--apply").exit_code == 0
    assert "2:4" in [line.split()[0] for line in etar("list").stdout.splitlines()]


def test_a_hook_named_in_the_settings(desk: Desk, etar: Etar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    desk.one_of_each_kind()
    desk.consume()
    (tmp_path / "our_hooks.py").write_text(
        "from etar.dead_letters import Reason\n\n\n"
        "def repair(fields, letter):\n"
        "    return fields if letter.reason is Reason.TRAILING_BYTES else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ETAR_DEAD_LETTERS_HOOK", "our_hooks:repair")
    get_settings.cache_clear()
    replayed = etar("replay", "--all", "--hook", "--apply")
    assert replayed.stdout.splitlines()[-1] == "7 left alone by the hook, 1 replayed"
    desk.consume()
    assert desk.rows() == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "x"], "PARTITION:OFFSET"),
        (["show", "0:5"], "no dead letter"),
        (["list", "--state", "lost"], "unfiled, open, replayed, discarded or all"),
        (["list", "--from", "yesterday"], "is not a time"),
        (["replay"], "--all"),
        (["discard", "--reason-text", "x"], "--all"),
        (["fix", "0:0"], "--patch, --patch-file or --hook"),
        (["fix", "0:0", "--patch", "{"], "not a JSON patch"),
        (["fix", "0:0", "--patch", "[]", "--hook"], "exclude each other"),
        (["fix", "0:0", "--hook"], "ETAR_DEAD_LETTERS_HOOK"),
        (["fix", "0:0", "--patch", "[]", "--schema-id", "999999"], "schema id 999999"),
        (["fix", "--all", "--patch-file", "/no/such/file"], "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(etar: Etar, arguments: list[str], said: str) -> None:
    answer = etar(*arguments)
    assert answer.exit_code == 1, answer.output
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
