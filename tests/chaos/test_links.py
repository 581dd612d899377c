"""Links that are disturbed, with toxiproxy in between."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import Kind
from tests.chaos.links import Links, running_links
from tests.ports import free_ports


class Echo:
    """A server that gives back what it is sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)


def ask(port: int, *, patience: float = 20) -> bytes:
    """What comes back; empty when the other end hangs up first.

    Raises:
        OSError: refused, or nothing came in time.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.sendall(b"hello")
        return connection.recv(100)


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[tuple[Links, int]]:
    echo = Echo()
    port, link = free_ports(2)
    with running_links({"echo": (link, echo.port)}, port, tmp_path) as links:
        yield links, link
    echo.close()


def test_a_link_that_nobody_disturbs_lets_everything_through(linked: tuple[Links, int]) -> None:
    assert ask(linked[1]) == b"hello"


def test_a_cut_link_refuses_until_it_is_mended(linked: tuple[Links, int]) -> None:
    links, port = linked
    with socket.create_connection(("127.0.0.1", port), timeout=20) as before:
        before.sendall(b"a")
        assert before.recv(100) == b"a"
        with links.disturbed("echo", Kind.CUT):
            assert before.recv(100) == b"", "a connection from before outlived the cut"
            with pytest.raises(ConnectionRefusedError):
                ask(port)
    assert ask(port) == b"hello"


def test_a_silent_link_connects_and_gives_no_answer(linked: tuple[Links, int]) -> None:
    links, port = linked
    with links.disturbed("echo", Kind.SILENT), pytest.raises(TimeoutError):
        ask(port, patience=0.5)
    assert ask(port) == b"hello"


def test_a_slow_link_answers_late(linked: tuple[Links, int]) -> None:
    links, port = linked
    with links.disturbed("echo", Kind.SLOW):
        with pytest.raises(TimeoutError):
            ask(port, patience=0.5)
        assert ask(port) == b"hello"
    assert ask(port, patience=1.9) == b"hello", "less than what a slow link takes"
