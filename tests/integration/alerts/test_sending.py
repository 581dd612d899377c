"""A message as it arrives by mail and by web hook, and why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest

from etar.alerts.targets import Message, Sending
from tests.integration.alerts.conftest import PASSWORD, Hook, MailServer

BODY = "3 minutes are missing.\nSince 12:00 (x > 0 & y < 1; it is <3>).\nWhat to do: press `etar status`"


@pytest.fixture(autouse=True)
def told(hook: Hook, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", f"{mail_server.address} {hook.address}")


def problems(*names: str) -> dict[str, str | None]:
    messages: Sequence[Message] = [Message(uuid4(), name, "etar: a title", BODY, "critical") for name in names]
    outcomes = Sending(messages).outcomes(wait_seconds=100)
    assert outcomes is not None
    return {each.target: each.problem for each in outcomes}


def test_it_arrives_line_by_line_as_it_was_written(hook: Hook, mail_server: MailServer) -> None:
    assert problems("mail", "hook") == {"mail": None, "hook": None}
    assert [(each.title, each.body) for each in hook.told] == [("etar: a title", BODY)]
    (mail,) = mail_server.mails
    assert (mail["subject"], mail["from"], mail["to"]) == ("etar: a title", "etar@example.org", "team@example.org")
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == BODY.splitlines()


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_what_is_refused_says_how_and_has_no_password(hook: Hook, status: int) -> None:
    hook.status = status
    found = problems("hook", "mail")
    assert found["mail"] is None
    assert str(status) in (found["hook"] or "")
    assert PASSWORD not in (found["hook"] or "")
