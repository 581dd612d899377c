"""The real front as a process of its own, on a free port and a temporary directory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
import urllib3

REPOSITORY = Path(__file__).parents[3]
USER, PASSWORD = "tester", "p4ss:wörd'\\"
READER, READER_PASSWORD = "reader", "also s3cret"
AUTHORIZATION = {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


def eventually(condition: Callable[[], Any], *, within: float = 60.0) -> Any:
    """The first true value of ``condition``; fails the test where there is none in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail(f"not true within {within} s: {condition}")


@dataclass
class Front:
    """One front: started, asked, stopped."""

    path: Path
    flags: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.path.with_suffix(".log")

    def start(self) -> Front:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = self.launch()
        eventually(lambda: self.process.poll() is not None or self.is_up())
        assert self.process.poll() is None, self.log.read_text()
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stack.chdb_http", "--path", str(self.path), "--port", str(self.port)]
        environ = os.environ | {"CHDB_HTTP_USER": USER, "CHDB_HTTP_PASSWORD": PASSWORD}
        environ |= {"CHDB_HTTP_READER": READER, "CHDB_HTTP_READER_PASSWORD": READER_PASSWORD}
        with self.log.open("ab") as log:
            return subprocess.Popen([*command, *self.flags], cwd=REPOSITORY, env=environ, stdout=log, stderr=log)

    def is_up(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/ping", retries=False, timeout=1).data == b"Ok.\n"
        except urllib3.exceptions.HTTPError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **kwargs: Any):
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=USER, password=PASSWORD, **kwargs
        )

    def ask(self, sql="", *, method="POST", body=None, headers=None, stream=False, timeout=60, **params) -> Any:
        """One plain HTTP request; ``sql`` goes into the URL where there is a ``body`` beside it, and with GET."""
        if body is not None or method == "GET":
            params |= {"query": sql} if sql else {}
        else:
            body = sql.encode()
        return urllib3.request(
            method,
            f"{self.url}/?{urlencode(params)}",
            body=body,
            headers=AUTHORIZATION if headers is None else headers,
            retries=False,
            timeout=timeout,
            preload_content=not stream,
        )

    def value(self, sql: str) -> str:
        answer = self.ask(sql)
        assert answer.status == 200, answer.data
        return answer.data.decode().removesuffix("\n")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def memory(self) -> int:
        """Bytes of resident memory that are the process's own."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


@pytest.fixture
def start_front(tmp_path) -> Iterator[Callable[..., Front]]:
    """Starts fronts with flags of the test's choice; they end with the test."""
    started: list[Front] = []

    def start(*flags: str, path: Path | None = None) -> Front:
        front = Front(path or tmp_path / "data", flags).start()
        started.append(front)
        return front

    yield start
    for front in started:
        if front.process.poll() is None:
            front.process.kill()
            front.process.wait()


@pytest.fixture(scope="session")
def front(tmp_path_factory) -> Iterator[Front]:
    """One front for the tests that leave it as they found it."""
    front = Front(tmp_path_factory.mktemp("front") / "data", ("--database", "etar")).start()
    yield front
    front.process.kill()
    front.process.wait()


@pytest.fixture
def table(front) -> Iterator[str]:
    """An empty table (number UInt64, text String)."""
    assert (
        front.ask("CREATE TABLE etar.t (number UInt64, text String) ENGINE = MergeTree ORDER BY number").status == 200
    )
    yield "etar.t"
    front.ask("DROP TABLE etar.t SYNC")
