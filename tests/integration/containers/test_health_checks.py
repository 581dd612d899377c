"""The health checks of our own images, as the containers run them, against a real server and a real worker."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from stack.layout import REPOSITORY
from tests.ports import free_ports

HEALTH = {
    "scheduler": {"status": "healthy"},
    "triggerer": {"status": None},
    "none": [],
    "all": [{"state": "RUNNING"}, {"state": "RUNNING"}],
    "some": [{"state": "RUNNING"}, {"state": "FAILED"}],
}


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(HEALTH).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "docker" / "healthy.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_an_answer_is_enough_or_must_say_something(server: str) -> None:
    assert check(f"{server}/health").returncode == 0
    assert check(f"{server}/health", "scheduler.status=healthy").returncode == 0
    assert check(f"{server}/health", "all.*.state=RUNNING", "scheduler.status=healthy").returncode == 0


@pytest.mark.parametrize(
    ("path", "conditions", "says"),
    [
        ("/health", ["triggerer.status=healthy"], "does not say triggerer.status=healthy"),
        ("/health", ["dag_processor.status=healthy"], "dag_processor"),
        ("/health", ["scheduler.status.more=1"], "string indices"),
        ("/other", [], "503"),
        ("/health", ["some.*.state=RUNNING"], "does not say some.*.state=RUNNING"),
        ("/health", ["none.*.state=RUNNING"], "does not say none.*.state=RUNNING"),
    ],
)
def test_anything_else_is_a_failure_that_says_why(server: str, path: str, conditions: list[str], says: str) -> None:
    done = check(f"{server}{path}", *conditions)
    assert done.returncode == 1
    assert says in done.stdout
    assert done.stderr == ""


def test_nobody_there_is_a_failure() -> None:
    done = check(f"http://127.0.0.1:{free_ports(1)[0]}/health")
    assert done.returncode == 1
    assert "refused" in done.stdout
