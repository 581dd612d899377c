"""Places to be told at, on this machine: a mail server and a web hook."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.ports import free_ports

PASSWORD = "hunter2hunter2"


@dataclass
class Told:
    """A message as it arrived."""

    title: str
    body: str


@dataclass
class Hook:
    """A web hook that keeps what it is sent, and answers with ``status``; ``before_answer`` is called in between."""

    url: str
    told: list[Told] = field(default_factory=list)
    status: int = 200
    before_answer: Callable[[], None] = lambda: None

    @property
    def titles(self) -> list[str]:
        return [each.title for each in self.told]

    @property
    def address(self) -> str:
        return f"hook={self.url}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    port = free_ports(1)[0]
    found = Hook(f"json://user:{PASSWORD}@127.0.0.1:{port}/{PASSWORD}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.status == 200:
                found.told.append(Told(told["title"], told["message"]))
            found.before_answer()
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class MailServer:
    """Keeps the mails that it is given."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"mail=mailto://127.0.0.1:{self.port}?mode=insecure&from=etar@example.org&to=team@example.org"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    port = free_ports(1)[0]
    found = MailServer(port)
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    yield found
    controller.stop()
