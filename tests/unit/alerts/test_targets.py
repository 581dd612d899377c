"""The targets: how they are written, and that nothing tells more of one than its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import uuid4

import pytest
from pydantic import SecretStr

from etar.alerts.sending import without_secrets
from etar.alerts.targets import SENDING, Message, Sending, TargetsError, targets
from etar.settings import AlertSettings
from tests.ports import free_ports

SECRET = "hunter2hunter2"


def of(text: str) -> dict[str, str]:
    return dict(targets(AlertSettings(targets=SecretStr(text))))


def message(target: str, body: str = "b") -> Message:
    return Message(uuid4(), target, "t", body, "critical")


def test_a_target_is_called_as_it_is_named_or_by_its_scheme() -> None:
    assert of("") == {}
    assert of("  json://h/x?a=b \n team=mailto://u:p@h?to=a@b.example\tSlack://x ") == {
        "json": "json://h/x?a=b",
        "team": "mailto://u:p@h?to=a@b.example",
        "slack": "Slack://x",
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"json://h {SECRET}", "target 2 of ETAR_ALERTS_TARGETS is no address"),
        (f"me=you=json://h/{SECRET}", "target 1 of ETAR_ALERTS_TARGETS is no address"),
        (f"json://h/{SECRET} json://g", "two targets of ETAR_ALERTS_TARGETS are called json"),
    ],
)
def test_what_is_no_target_is_named_by_its_place_and_never_shown(text: str, why: str) -> None:
    with pytest.raises(TargetsError, match=why) as caught:
        of(text)
    assert SECRET not in str(caught.value)


def test_a_problem_has_nothing_of_the_address_but_the_host() -> None:
    address = f"mailto://someone:{SECRET}@mail.example.org:2525/path0?from=me%40example.org&key=abcdefgh"
    told = f"mail.example.org refused someone with {SECRET} at mail.example.org/path0 abcdefgh\nfor good"
    assert without_secrets(told, address) == "mail.example.org refused … with … at mail.example.org/… … for good"


def test_the_messages_of_a_target_are_sent_in_their_order_and_none_after_one_that_it_did_not_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the library's own words, of a place where nobody listens."""
    port = free_ports(1)[0]
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", f"hook=json://user:{SECRET}@127.0.0.1:{port}/{SECRET}")
    first, second, gone = message("hook"), message("hook"), message("gone")

    sending = Sending([first, second, gone])
    outcomes = sending.outcomes(wait_seconds=60)

    assert outcomes is not None
    problems = {each.id: each.problem for each in outcomes}
    assert problems.keys() == {first.id, gone.id}
    assert "127.0.0.1" in (problems[first.id] or "")
    assert problems[gone.id] == "there is no target of this name"


def test_an_address_is_not_in_the_arguments_the_output_or_the_errors_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"nonsense://user:{SECRET}@127.0.0.1/{SECRET}"
    given = json.dumps([message("nonsense").as_dict()])
    done = subprocess.run(
        SENDING,
        input=given,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ETAR_ALERTS_TARGETS": address},
    )
    assert "its address is not understood" in done.stdout
    assert SECRET not in " ".join(SENDING) + done.stdout + done.stderr


def test_of_a_process_that_ends_half_way_what_it_has_told_counts_and_no_more() -> None:
    first, second = message("a"), message("a")
    told = json.dumps({"id": str(first.id), "target": "a", "problem": None})
    program = f"import sys; sys.stdin.read(); print({told!r}, flush=True); sys.stdout.write('{{\"id'); sys.exit(9)"
    outcomes = Sending([first, second], (sys.executable, "-c", program)).outcomes(wait_seconds=60)
    assert outcomes is not None
    assert [(each.id, each.problem) for each in outcomes] == [(first.id, None)]
