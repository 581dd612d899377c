"""Redis as the stack runs it: nobody reads it without the password, and a kill loses nothing it has acknowledged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest
import redis

from stack.configuration import prepare_settings
from stack.layout import Layout
from stack.parts import Stack
from stack.processes import left_behind
from tests.conftest import running_part, stack_environment, temporary_folder

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not on PATH (Debian package redis-server)"
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with temporary_folder() as folder:
        layout = Layout.at(folder / "a space")
        layout.create()
        environment = stack_environment() | {"ETAR_STACK_EXECUTOR": "celery"}
        yield Stack(layout, prepare_settings(layout.settings_file, environment, datetime.now(UTC)))


def client(stack: Stack, password: str | None) -> redis.Redis:
    return redis.Redis(port=stack.settings.port("REDIS"), password=password, socket_timeout=10)


def test_a_client_without_the_password_is_refused(stack: Stack) -> None:
    with running_part("redis", stack) as pid:
        for password in (None, "wrong"):
            with client(stack, password) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        process = psutil.Process(pid)
        listening = {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", stack.settings.port("REDIS"))}
        assert [found.pid for found in left_behind(stack.layout, "redis")] == [pid], "a crash must not hide it"


def test_a_kill_loses_no_message(stack: Stack) -> None:
    password = stack.settings["ETAR_STACK_REDIS_PASSWORD"]
    with running_part("redis", stack) as pid, client(stack, password) as scheduler:
        assert scheduler.lpush("default", "first", "second") == 2
        assert scheduler.rpop("default") == b"first"
        psutil.Process(pid).kill()
    with running_part("redis", stack), client(stack, password) as worker:
        assert worker.lrange("default", 0, -1) == [b"second"]
