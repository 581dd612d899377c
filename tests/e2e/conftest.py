"""The whole stack as a person starts it, on free ports and in a temporary folder, with three minutes of traffic."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etar.minute import MinuteWindow
from producer.account import Account
from stack import lifecycle
from stack.configuration import read_settings
from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.parts import Stack
from stack.waiting import wait_until
from tests.conftest import stack_environment, temporary_folder

MINUTES = 3
RATE = 200
WELL_WITHIN = 180
# A late event is in a revision two minutes after its arrival; a busy machine takes longer.
REVISED_WITHIN = 180
# The tests share two cores with everything they start: a stall of some seconds must not turn traffic into late events.
PATIENT = {"ETAR_PIPELINE_GRACE_SECONDS": "5"}


@dataclass(frozen=True)
class Etar:
    """The ``etar`` command, run on one stack."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        # What fixtures of other tests put into this process must not reach the stack.
        return {k: v for k, v in os.environ.items() if not k.startswith("ETAR_")} | {"ETAR_DIR": str(self.folder)}

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
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command in the background; killed at the end if it still runs. A failure meanwhile tells what it said."""
        command = [str(VENV_BIN / "etar"), *arguments]
        with tempfile.TemporaryFile() as said:
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
    def read(account_file: Path, log_file: Path, *, minutes: int) -> Traffic:
        """What a run of ``minutes`` whole minutes left."""
        account = Account.read(account_file)
        assert account.first_minute is not None
        first = MinuteWindow.parse(account.first_minute)
        return Traffic(
            first=first,
            end=MinuteWindow(first.start + timedelta(minutes=minutes)),
            account=account,
            account_file=account_file,
            log=[json.loads(line) for line in log_file.read_text().splitlines()],
        )


@contextmanager
def started_stack(shape: Mapping[str, str] | None = None) -> Iterator[Etar]:
    """A stack as `etar up --detach` starts it, of the parts that ``shape`` asks for; gone afterwards."""
    with temporary_folder() as folder:
        command = Etar(folder)
        # Minutes before the start are minutes that no run takes: as after an outage.
        deployed = MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=5))
        settings = stack_environment() | {
            "ETAR_DEMO_RATE": "0",
            "ETAR_PIPELINE_START_DATE": deployed.start.isoformat(),
            **PATIENT,
            **(shape or {}),
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
def etar() -> Iterator[Etar]:
    with started_stack() as command:
        yield command


@pytest.fixture(scope="session")
def traffic(etar: Etar, tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Three whole minutes with errors, duplicates and bad records, seeded."""
    scratch = tmp_path_factory.mktemp("traffic")
    account_file, log_file = scratch / "account.json", scratch / "events.jsonl"
    etar.run(
        "produce", "--rate", str(RATE), "--for", f"{MINUTES}m", "--start", "next-minute", "--seed", "20261121",
        "--duplicates", "0.02", "--malformed", "0.01", "--account", str(account_file), "--event-log", str(log_file),
        timeout=MINUTES * 60 + 180,
    )  # fmt: skip
    return Traffic.read(account_file, log_file, minutes=MINUTES)
