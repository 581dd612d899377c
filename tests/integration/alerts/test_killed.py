"""The part as a process, killed where it hurts: it tells at least once, says so, and once where it was not killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings
from stack.layout import REPOSITORY
from stack.waiting import wait_until
from tests.integration.alerts.conftest import PASSWORD, Hook
from tests.integration.dashboard.serving import READ_TOKEN
from tests.ports import free_ports
from tests.stopping import stop

START = "etar: MinutesGivenUp of user_interactions"
END = "etar: over: MinutesGivenUp of user_interactions"
RULE = {
    "alert": "MinutesGivenUp",
    "expr": "etar_minutes_given_up > 0",
    "labels": {"severity": "critical"},
    "annotations": {"summary": "{{ $value }} minutes were given up", "description": "press `etar minutes`"},
}
FAILED = (
    "INSERT INTO minutes (stream, minute, state, run_id, updated_at, error) "
    "VALUES ('user_interactions', date_trunc('minute', now(), 'UTC'), 'failed', 'r', now(), 'no')"
)


@pytest.fixture
def environment(empty_store: ReportStoreSettings, hook: Hook, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [RULE]}]}))
    nobody = free_ports(2)
    return {
        "ETAR_STREAMS": "user_interactions",
        "ETAR_REPORT_STORE_HOST": empty_store.host,
        "ETAR_REPORT_STORE_PORT": str(empty_store.port),
        "ETAR_REPORT_STORE_DATABASE": empty_store.database,
        "ETAR_REPORT_STORE_USER": empty_store.user,
        "ETAR_REPORT_STORE_PASSWORD": empty_store.password.get_secret_value(),
        "ETAR_API_URL": f"http://127.0.0.1:{nobody[0]}",
        "ETAR_API_READ_TOKEN": READ_TOKEN,
        "ETAR_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{nobody[1]}",
        "ETAR_PIPELINE_START_DATE": "2026-11-21T10:00:00Z",
        "ETAR_ALERTS_TARGETS": hook.address,
        "ETAR_ALERTS_RULES": str(tmp_path / "rules.yml"),
        "ETAR_ALERTS_LOOK_SECONDS": "1",
    }


class Part:
    """The part as the supervisor starts it. ``process`` is the newest."""

    process: subprocess.Popen[bytes]

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        self.beat = log.with_suffix(".beat")
        self._environment = environment

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "etar.alerts.watch", str(self.beat)],
                cwd=REPOSITORY,
                env=os.environ | self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[Part]:
    part = Part(environment, log)
    part.start()
    try:
        yield part
    finally:
        stop(part.process, "alerts", 60)


@pytest.fixture
def books(empty_store: ReportStoreSettings) -> Iterator[psycopg.Connection]:
    with report_store_connection(empty_store) as connection:
        connection.autocommit = True
        yield connection


def sent(books: psycopg.Connection) -> list[tuple[str]]:
    return books.execute(
        "SELECT kind FROM alert_deliveries JOIN alert_notices ON id = notice WHERE sent_at IS NOT NULL ORDER BY sent_at"
    ).fetchall()


def test_killed_between_sending_and_noting_it_tells_once_more_and_says_so(
    environment: dict[str, str], tmp_path: Path, hook: Hook, books: psycopg.Connection
) -> None:
    with running(environment, tmp_path / "alerts.log") as part:

        def kill_once() -> None:
            hook.before_answer = lambda: None
            part.kill()

        hook.before_answer = kill_once
        books.execute(FAILED)
        wait_until(lambda: part.process.poll() is not None, timeout=120, what="the part to be killed as it sends")
        assert hook.titles == [START]
        assert sent(books) == []

        part.start()
        wait_until(lambda: sent(books) == [("start",)], timeout=120, what="the notice to be noted as sent")
        assert hook.titles == [START, START]
        assert "you have this already" not in hook.told[0].body
        assert "It may be that you have this already" in hook.told[1].body
        assert books.execute("SELECT count(*) FROM alert_notices").fetchall() == [(1,)]

        # Killed while nothing is under way, it tells nothing twice.
        part.kill()
        books.execute("UPDATE minutes SET state = 'open', error = NULL")
        part.start()
        wait_until(lambda: sent(books) == [("start",), ("end",)], timeout=120, what="the end to be noted as sent")
        assert hook.titles == [START, START, END]


def test_no_log_and_no_command_line_has_an_address(
    environment: dict[str, str], tmp_path: Path, hook: Hook, books: psycopg.Connection
) -> None:
    seen: list[str] = []

    def look_around() -> None:
        seen.extend(
            file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            for file in Path("/proc").glob("[0-9]*/cmdline")
            if _is_readable(file)
        )

    hook.before_answer = look_around
    hook.status = 403
    with running(environment, tmp_path / "alerts.log") as part:
        books.execute(FAILED)
        wait_until(
            lambda: "hook was not told" in part.log.read_text(), timeout=120, what="the part to say that it was refused"
        )
    assert any("etar.alerts.sending" in line for line in seen)
    assert not [line for line in seen if PASSWORD in line]
    assert PASSWORD not in part.log.read_text()
    assert "403" in part.log.read_text()


def _is_readable(file: Path) -> bool:
    try:
        return bool(file.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ETAR_ALERTS_TARGETS": f"hook {PASSWORD}"}, "target 1 of ETAR_ALERTS_TARGETS is no address"),
        ({"ETAR_ALERTS_RULES": "/nowhere/rules.yml"}, "the alert rules in /nowhere/rules.yml cannot be read"),
    ],
)
def test_settings_that_would_tell_nobody_end_it_with_what_is_wrong(
    environment: dict[str, str], tmp_path: Path, changed: dict[str, str], why: str
) -> None:
    part = Part(environment | changed, tmp_path / "alerts.log")
    part.start()
    assert part.process.wait(60) == 1
    assert why in part.log.read_text()
    assert PASSWORD not in part.log.read_text()


def test_it_beats_at_each_look(environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment, tmp_path / "alerts.log") as part:
        wait_until(part.beat.exists, timeout=120, what="the first look")
        first = part.beat.stat().st_mtime
        wait_until(lambda: part.beat.stat().st_mtime > first, timeout=120, what="the next look")
