"""The whole stack as a person starts it, on free ports and in a temporary folder, with two minutes of traffic."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from etar.minute import MINUTE, MinuteWindow
from producer.account import Account
from stack import lifecycle
from stack.configuration import read_settings
from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.parts import Stack
from stack.waiting import wait_until
from tests.chaos.links import LinkedPorts, running_links_of_a_stack
from tests.conftest import stack_environment, temporary_folder
from tests.e2e.reports import REVISED_WITHIN, wait_for_ledger

MINUTES = 2
RATE = 200
WELL_WITHIN = 180
# The tests share two cores with everything they start: a stall of some seconds must not turn traffic into late events.
# No test waits for a report's second, and a scheduler that looks less often leaves the others 4 CPU seconds a minute.
PATIENT = {"ETAR_PIPELINE_GRACE_SECONDS": "5", "ETAR_STACK_SCHEDULER_PAUSE_SECONDS": "1.0"}


@dataclass(frozen=True)
class Etar:
    """The ``etar`` command, run on one stack; ``variables`` are those of whoever runs it."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        # What fixtures of other tests put into this process must not reach the stack.
        outside = {k: v for k, v in os.environ.items() if not k.startswith("ETAR_")}
        return outside | {"ETAR_DIR": str(self.folder)} | dict(self.variables)

    def run(self, *arguments: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(VENV_BIN / "etar"), *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            pytest.fail(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    @contextmanager
    def started(self, *arguments: str, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The command in the background; killed at the end if it still runs. A failure meanwhile tells what it said.

        With ``log`` what it says goes there, for whoever waits for it elsewhere.
        """
        command = [str(VENV_BIN / "etar"), *arguments]
        with log.open("w+b") if log else tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, env=self.environment, cwd=REPOSITORY, stdout=said, stderr=said)
            try:
                yield process
            except BaseException as error:
                said.seek(0)
                error.add_note(f"{' '.join(command)} said:\n{said.read().decode(errors='replace')[-4000:]}")
                raise
            finally:
                process.kill()
                process.wait()

    def json(self, *arguments: str, check: bool = True) -> dict:
        return json.loads(self.run(*arguments, "--json", check=check).stdout)

    def healthy(self) -> dict:
        """The stack's status, once all of its parts are well."""
        status: dict = {}

        def is_well() -> bool:
            status.update(lifecycle.status(self.stack).as_dict())
            return bool(status["healthy"])

        wait_until(is_well, timeout=WELL_WITHIN, what="every part to be well", interval=1)
        return status

    def exact_account(self, *arguments: str) -> dict:
        """What `etar verify` says once it is exact and no row waits for its revision, as one that came late does."""
        answers: list[subprocess.CompletedProcess[str]] = []

        def exact() -> bool:
            answers[:] = [self.run("verify", *arguments, "--json", check=False)]
            done = answers[0]
            return done.returncode == 0 and not any(minute["pending"] for minute in json.loads(done.stdout)["minutes"])

        try:
            wait_until(exact, timeout=REVISED_WITHIN, what="an exact account", interval=5)
        except TimeoutError as error:
            pytest.fail(f"{error}; the last answer:\n{answers[0].stdout[-8000:]}\n{answers[0].stderr[-4000:]}")
        return json.loads(answers[0].stdout)

    @property
    def stack(self) -> Stack:
        layout = Layout.at(self.folder)
        return Stack(layout, read_settings(layout.settings_file))


@dataclass(frozen=True)
class Traffic:
    """What was sent: whole minutes from ``first`` up to ``end``, and the producer's own log of it."""

    first: MinuteWindow
    end: MinuteWindow
    account: Account
    account_file: Path
    log: list[dict]

    @staticmethod
    def read(account_file: Path, log_file: Path) -> Traffic:
        """What a run left that sent no late event."""
        account = Account.read(account_file)
        assert account.first_minute is not None
        assert account.last_minute is not None
        return Traffic(
            first=MinuteWindow.parse(account.first_minute),
            end=MinuteWindow.parse(account.last_minute).next,
            account=account,
            account_file=account_file,
            log=[json.loads(line) for line in log_file.read_text().splitlines()],
        )


@dataclass(frozen=True)
class Sending:
    """Traffic that is being sent. Nothing else may be sent meanwhile: the producer's account is compared with Kafka."""

    producer: subprocess.Popen[bytes]
    account_file: Path
    log_file: Path
    said: Path

    def sent(self) -> Traffic:
        """The traffic, once all of it is sent."""
        assert self.producer.wait(MINUTES * 60 + 180) == 0, self.said.read_text()
        return Traffic.read(self.account_file, self.log_file)


@contextmanager
def started_stack(
    variables: Mapping[str, str], *, prepare: Callable[[Path], object] = lambda _: None
) -> Iterator[Etar]:
    """A stack as `etar up --detach` starts it with these variables, on free ports unless they say which; then gone.

    ``prepare`` is given its folder before.
    """
    with temporary_folder() as folder:
        prepare(folder)
        command = Etar(folder)
        # Minutes before the start are minutes that no run takes: as after an outage.
        deployed = MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=5))
        settings = stack_environment() | {
            "ETAR_DEMO_RATE": "0",
            "ETAR_PIPELINE_START_DATE": deployed.start.isoformat(),
            **PATIENT,
            **variables,
        }
        up = [str(VENV_BIN / "etar"), "up", "--detach", "--dir", str(folder)]
        try:
            started = subprocess.run(
                up,
                env=command.environment | settings,
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert started.returncode == 0, f"{started.stdout}\n{started.stderr}"
            yield command
        finally:
            command.run("down", check=False)


@pytest.fixture(scope="session")
def linked() -> Iterator[LinkedPorts]:
    """Proxies between the parts of the session's stack, which let everything through unless a test disturbs them."""
    with temporary_folder() as folder, running_links_of_a_stack(folder) as linked:
        yield linked


@pytest.fixture(scope="session")
def etar(linked: LinkedPorts) -> Iterator[Etar]:
    with started_stack(linked.variables) as command:
        yield command


@pytest.fixture(scope="session")
def sending(etar: Etar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sending]:
    """Two whole minutes with errors, duplicates and bad records, seeded: from now on, in the background."""
    scratch = tmp_path_factory.mktemp("traffic")
    account_file, log_file, said = (scratch / name for name in ("account.json", "events.jsonl", "said.txt"))
    with etar.started(
        "produce", "--rate", str(RATE), "--for", f"{MINUTES}m", "--start", "next-minute", "--seed", "20261121",
        "--duplicates", "0.02", "--malformed", "0.01", "--account", str(account_file), "--event-log", str(log_file),
        log=said,
    ) as producer:  # fmt: skip
        yield Sending(producer, account_file, log_file, said)


@pytest.fixture(scope="session")
def traffic(sending: Sending) -> Traffic:
    """What was sent, once all of it is."""
    return sending.sent()


@pytest.fixture(scope="session")
def first_minute(etar: Etar) -> MinuteWindow:
    """The first minute that this deployment reports: five minutes before the one in which the stack was started."""
    return MinuteWindow.parse(etar.stack.settings["ETAR_PIPELINE_START_DATE"])


@dataclass(frozen=True)
class Late:
    """What came after the traffic, for minutes before the stack's start that were reported as empty.

    Args:
        events: minutes with so many late events.
        letter: the dead letter that was sent again, as an event of ``replayed``.
        end: the minute after the one in which all of it arrived.
    """

    events: dict[MinuteWindow, int]
    letter: str
    replayed: MinuteWindow
    end: MinuteWindow


@pytest.fixture(scope="session")
def late(etar: Etar, traffic: Traffic, first_minute: MinuteWindow, tmp_path_factory: pytest.TempPathFactory) -> Late:
    """All of it at once: the same runs of Airflow's own schedule revise it, and close it in the audit."""
    windows = list(MinuteWindow.between(first_minute.next, MinuteWindow(first_minute.start + 5 * MINUTE)))
    for window in windows:
        assert wait_for_ledger(etar, window)["received"] == 0
    events = dict(zip(windows[:-1], (3, 5, 2), strict=True))
    file = tmp_path_factory.mktemp("late") / "events.jsonl"
    file.write_text("".join(f"{json.dumps(event)}\n" for window in events for event in made(window, events[window])))
    etar.run("produce", "--input", str(file))
    letter = replay_one_of(etar, traffic.account.malformed, into=windows[-1])
    return Late(events, letter, windows[-1], MinuteWindow.containing(datetime.now(UTC)).next)


def made(window: MinuteWindow, count: int) -> Iterator[dict[str, str]]:
    """Events of the minute."""
    for number in range(count):
        yield {
            "event_id": str(uuid4()),
            "user_id": str(uuid4()),
            "session_id": str(uuid4()),
            "event_type": "view",
            "status": "success",
            "event_time": (window.start + timedelta(seconds=1 + number)).isoformat(),
            "device": "mobile",
            "country": "DE",
        }


def replay_one_of(etar: Etar, letters: int, *, into: MinuteWindow) -> str:
    """A record whose time was wrong, with a good one; returns the dead letter's name."""

    def all_there() -> bool:
        counts = json.loads(etar.run("dead-letters", "list", "--summary", "--json", "--state", "all").stdout)
        return sum(sum(states.values()) for states in counts.values()) == letters

    wait_until(all_there, timeout=60, what=f"{letters} dead letters", interval=2)
    lines = etar.run("dead-letters", "list", "--reason", "too_late", "--json", "--limit", "0").stdout.splitlines()
    letter = json.loads(lines[0])
    name = f"{letter['partition']}:{letter['offset']}"
    moment = int((into.start + timedelta(seconds=30)).timestamp() * 1000)
    patch = json.dumps([{"op": "replace", "path": "/event_time", "value": moment}])
    etar.run("dead-letters", "replay", name, "--patch", patch, "--apply")
    return name
