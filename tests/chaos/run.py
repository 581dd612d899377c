"""One run: a stack, traffic, faults by a schedule, and the account at the end."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from etar.clients import warehouse_client
from etar.minute import MINUTE, MinuteWindow
from etar.settings import WarehouseSettings
from etar.streams import default_stream
from producer.account import Account
from stack.configuration import read_settings
from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.lifecycle import stop
from stack.parts import Stack
from stack.waiting import wait_until
from tests.chaos.faults import HARMLESS, QUIET_SECONDS, STACK, TAKES_RECORDS, Fault, Kind, schedule
from tests.chaos.links import Links, running_links_of_a_stack
from tests.chaos.targets import everything, find
from tests.chaos.topic import compacted_topic, make_topic_anew

WORKERS = 3
BACK_WITHIN = timedelta(minutes=2)

_UP_SECONDS = 420
_UP_TRIES = 3
_FIND_SECONDS = 45.0
_VERIFY_EVERY_SECONDS = 10.0
_TIMED_OUT = 124
_ANOTHER_TOPIC = "is not the one that was audited"
"""Words of `etar verify` about a topic that was made anew; no account can be made of it any more."""

EARLIER = 3 * MINUTE
"""Minutes before the traffic that the account is of as well: the first late events belong there."""


class RunError(Exception):
    """The run could not be made, and says nothing of the stack's account."""


@dataclass(frozen=True)
class Asked:
    """What run is wanted: ``rate`` records a second for so many minutes, with the faults that follow from the seed.

    In the last ``quiet_seconds`` of the traffic no fault is under way.
    """

    seed: int
    minutes: int
    rate: float
    kinds: tuple[Kind, ...] = HARMLESS
    quiet_seconds: float = QUIET_SECONDS

    @property
    def verdict_within(self) -> timedelta:
        """How long after the traffic the account may take to become exact."""
        return timedelta(minutes=5) + self.minutes * timedelta(seconds=10)


@dataclass(frozen=True)
class Hit:
    """A fault that was, or was to be, done. ``pid`` is None for a link and for what was not found."""

    fault: Fault
    began: datetime
    ended: datetime
    pid: int | None
    done: bool


def _took_records(hits: Iterable[Hit]) -> bool:
    return any(hit.done and hit.fault.kind in TAKES_RECORDS for hit in hits)


@dataclass(frozen=True)
class Result:
    """How a run ended.

    ``difference`` is that of `etar verify`, None if it could not say; ``differences`` are the minutes and partitions
    that make it up. ``back_after``: from the end of the last fault to a report of a minute that ended later.
    ``dead_letters``: by reason, of what arrived since the traffic began. ``stored``: records of that time in the table
    or the dead letters, counted by themselves.
    """

    account: Account
    difference: int | None
    differences: tuple[str, ...]
    back_after: timedelta | None
    dead_letters: dict[str, int]
    hits: tuple[Hit, ...]
    stored: int

    @property
    def took_records(self) -> bool:
        return _took_records(self.hits)

    @property
    def honest(self) -> bool:
        """Whether the account is exact just when every acknowledged record is stored."""
        return self.exact == (self.stored >= self.account.acknowledged)

    @property
    def exact(self) -> bool:
        return self.difference == 0

    @property
    def back_in_time(self) -> bool:
        """Whether the first report after the last fault came within the bar; True where nothing was done at all."""
        if not any(hit.done for hit in self.hits):
            return True
        return self.back_after is not None and self.back_after <= BACK_WITHIN


def say(message: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {message}", flush=True)


def run(asked: Asked, folder: Path) -> Result:
    """Start a stack in ``folder``, let the traffic and the faults come, wait for the account; the stack is stopped.

    Raises:
        RunError: a part of the run itself failed; logs are in ``folder``.
    """
    with ExitStack() as closing:
        first = MinuteWindow.containing(datetime.now(UTC) - EARLIER)
        linked = closing.enter_context(running_links_of_a_stack(folder))
        variables = {
            **linked.variables,
            "ETAR_DEMO_RATE": "0",
            # Two cores carry all of it: a stall of some seconds is no fault that was asked for.
            "ETAR_PIPELINE_GRACE_SECONDS": "5",
            "ETAR_PIPELINE_START_DATE": first.start.isoformat(),
        }
        closing.enter_context(_running_stack(folder, variables))
        return run_on(folder, linked.links, asked, schedule(asked.seed, asked.minutes, asked.kinds), first=first)


def run_on(folder: Path, links: Links, asked: Asked, faults: Collection[Fault], *, first: MinuteWindow) -> Result:
    """The same with these faults on the stack that runs in ``folder`` with these links, to which nobody else sends
    meanwhile. The account is of the minutes from ``first`` on; the stack stays.
    """
    return _Chaos(asked, _Command(folder), _stack_in(folder), links).run(first, faults)


def _stack_in(folder: Path) -> Stack:
    layout = Layout.at(folder)
    return Stack(layout, read_settings(layout.settings_file))


class _Command:
    """The ``etar`` command on the stack in ``folder``, as an operator would run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments: str, log: str) -> subprocess.Popen[str]:
        """In the background; standard error goes to the log of that name."""
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen(
                [str(VENV_BIN / "etar"), *arguments],
                env=self._environment,
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
            )

    def run(self, *arguments: str, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
        """One command and what it printed; with the exit code of `timeout` if it had to be ended."""
        command = [str(VENV_BIN / "etar"), *arguments]
        try:
            return subprocess.run(
                command,
                env=self._environment | variables,
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess(command, _TIMED_OUT, stdout="", stderr=str(error))

    def up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--detach", timeout=_UP_SECONDS, **variables)

    @property
    def _environment(self) -> dict[str, str]:
        # What an environment around us says of another stack must not reach this one.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ETAR_")}
        return kept | {"ETAR_DIR": str(self.folder)}


@contextmanager
def _running_stack(folder: Path, variables: dict[str, str]) -> Iterator[None]:
    say(f"starting a stack in {folder}")
    try:
        started = _Command(folder).up(**variables)
        if started.returncode:
            raise RunError(f"the stack did not start:\n{started.stdout}\n{started.stderr}")
        yield
    finally:
        if Layout.at(folder).settings_file.exists():
            say("stopping the stack")
            stop(_stack_in(folder), lambda _: None)


class _Chaos:
    """The traffic and the faults of one run on a stack that runs."""

    def __init__(self, asked: Asked, command: _Command, stack: Stack, links: Links) -> None:
        self._asked = asked
        self._command = command
        self._stack = stack
        self._links = links
        self._lock = threading.Lock()
        self._hits: list[Hit] = []
        self._ending = threading.Event()

    def run(self, first: MinuteWindow, faults: Collection[Fault]) -> Result:
        begin = MinuteWindow.containing(datetime.now(UTC) + timedelta(seconds=10)).end
        account_file = self._command.folder / "account.json"
        producer = self._command.start(*self._traffic(begin, account_file), log="producer.log")
        try:
            self._do(faults, begin, psutil.Process(producer.pid))
            back_after = self._back_after()
            printed = self._end_of(producer)
        finally:
            self._ending.set()
            producer.kill()
            producer.wait()
        if producer.returncode and not _took_records(self._hits):
            raise RunError(f"the producer ended with {producer.returncode}; see producer.log\n{printed}")
        account = Account.read(account_file)
        say(
            f"traffic over: {account.acknowledged:,} acknowledged, {account.in_doubt} in doubt; waiting for the account"
        )
        verification = self._verify(first, account, account_file)
        (self._command.folder / "verification.json").write_text(json.dumps(verification, indent=1) + "\n")
        return Result(
            account=account,
            difference=verification.get("difference"),
            differences=tuple(_differing(verification)),
            back_after=back_after,
            dead_letters=_dead_letters(self._stack, account.started_at),
            hits=tuple(self._hits),
            stored=_stored(self._stack, account.started_at),
        )

    def _end_of(self, producer: subprocess.Popen[str]) -> str:
        try:
            return producer.communicate(timeout=self._asked.verdict_within.total_seconds())[0]
        except subprocess.TimeoutExpired:
            raise RunError("the producer did not come to its end; see producer.log") from None

    def _traffic(self, begin: datetime, account_file: Path) -> list[str]:
        asked = self._asked
        return [
            "produce", "--rate", str(asked.rate), "--for", f"{asked.minutes}m", "--start", begin.isoformat(),
            "--seed", str(asked.seed), "--workers", str(WORKERS), "--respawn",
            "--late", "0.05", "--duplicates", "0.02", "--malformed", "0.01", "--account", str(account_file),
        ]  # fmt: skip

    def _do(self, faults: Collection[Fault], begin: datetime, producer: psutil.Process) -> None:
        """Do every fault at its time, and be back when the last is over."""
        quiet = begin + timedelta(minutes=self._asked.minutes, seconds=-self._asked.quiet_seconds)
        with ThreadPoolExecutor(max_workers=16) as pool:
            under_way = []
            for fault in faults:
                time.sleep(max(0.0, (begin + timedelta(seconds=fault.at) - datetime.now(UTC)).total_seconds()))
                under_way.append(pool.submit(self._hit, fault, quiet, producer))
            for future in under_way:
                future.result()

    def _hit(self, fault: Fault, quiet: datetime, producer: psutil.Process) -> None:
        began = datetime.now(UTC)
        pid: int | None = None
        if fault.kind in (Kind.SLOW, Kind.CUT, Kind.SILENT):
            done = True
            say(f"{fault.kind:<6} the link to {fault.target} for {fault.seconds:g} s")
            with self._links.disturbed(fault.target, fault.kind):
                self._ending.wait(fault.seconds)
        elif fault.target == STACK:
            done = True
            self._kill_stack()
        elif fault.kind is Kind.ANEW:
            done = True
            say("anew   the topic")
            make_topic_anew(self._stack)
        elif fault.kind is Kind.COMPACTED:
            sink = self._await(replace(fault, kind=Kind.PAUSE, target="sink"), quiet, producer)
            done = sink is not None
            say(f"compact the topic for {fault.seconds:g} s")
            if sink:
                with _paused([sink, *sink.children(recursive=True)]), compacted_topic(self._stack):
                    self._ending.wait(fault.seconds)
        else:
            process = self._await(fault, quiet, producer)
            done, pid = process is not None, process.pid if process else None
            began = datetime.now(UTC)
            say(f"{fault.kind:<6} {fault.target}" + (f"  pid {pid}" if process else ": there is none"))
            if process:
                self._signal(fault, process)
        self._note(Hit(fault, began, datetime.now(UTC), pid, done))

    def _await(self, fault: Fault, quiet: datetime, producer: psutil.Process) -> psutil.Process | None:
        """The process to hit; a task, say, is waited for until there is one, or the quiet end is near."""
        until = min(datetime.now(UTC) + timedelta(seconds=_FIND_SECONDS), quiet - timedelta(seconds=fault.seconds))
        while (process := find(fault.target, self._stack, producer)) is None and datetime.now(UTC) < until:
            self._ending.wait(0.3)
        return process

    def _signal(self, fault: Fault, process: psutil.Process) -> None:
        try:
            if fault.kind is Kind.KILL:
                process.kill()
                return
            with _paused([process, *process.children(recursive=True)]):
                self._ending.wait(fault.seconds)
        except psutil.NoSuchProcess:
            say(f"       {fault.target} with pid {process.pid} ended by itself just then")

    def _kill_stack(self) -> None:
        processes = everything(self._stack)
        say(f"kill   the whole stack, {len(processes)} processes")
        for process in processes:
            with _gone_is_fine():
                process.kill()
        psutil.wait_procs(processes, timeout=30)
        for attempt in range(1, _UP_TRIES + 1):
            up = self._command.up()
            if up.returncode == 0:
                say("       `etar up`: the stack is there again")
                return
            say(f"       `etar up` failed ({attempt} of {_UP_TRIES}): {up.stderr.strip()[-500:]}")
        raise RunError("the stack did not come up again; see its logs")

    def _note(self, hit: Hit) -> None:
        with self._lock:
            self._hits.append(hit)
            lines = [_as_json(each) for each in sorted(self._hits, key=lambda each: each.began)]
            (self._command.folder / "faults.json").write_text(json.dumps(lines, indent=1) + "\n")

    def _back_after(self) -> timedelta | None:
        """Wait for a report of a minute that ended after the last fault; None: there was no fault, or no report."""
        if not self._hits:
            return None
        if any(hit.done and hit.fault.kind is Kind.ANEW for hit in self._hits):
            return None  # nothing is reported until a person has decided
        last = max(hit.ended for hit in self._hits)
        wanted = MinuteWindow.containing(last)
        settings = self._stack.settings
        headers = {"Authorization": f"Bearer {settings['ETAR_API_READ_TOKEN']}"}

        def is_back() -> bool:
            newest = _newest_report(f"http://127.0.0.1:{settings.port('API')}", headers)
            return newest is not None and newest >= wanted

        try:
            wait_until(is_back, timeout=2 * BACK_WITHIN.total_seconds(), what=f"a report of {wanted}", interval=1)
        except TimeoutError as error:
            say(str(error))
            return None
        after = datetime.now(UTC) - last
        say(f"back to reporting {after.total_seconds():.0f} s after the last fault, with the report of {wanted}")
        return after

    def _verify(self, first: MinuteWindow, account: Account, account_file: Path) -> dict[str, Any]:
        """`etar verify` again and again until the account is exact or its time is over; its last answer, or {}."""
        end = MinuteWindow.containing(account.ended_at).next
        arguments = ("verify", "--json", "--from", str(first), "--to", str(end), "--account", str(account_file))
        deadline = time.monotonic() + self._asked.verdict_within.total_seconds()
        while True:
            done = self._command.run(*arguments)
            answer: dict[str, Any] = json.loads(done.stdout or "{}")
            # Rows that came a moment ago are no difference, and not in a report either: the end is when they are.
            finished = done.returncode == 0 and not any(minute["pending"] for minute in answer["minutes"])
            if _took_records(self._hits) and not finished:
                lost = any(partition["lost"] for partition in answer.get("partitions", ()))
                finished = lost or _ANOTHER_TOPIC in done.stderr
            if finished or time.monotonic() > deadline:
                if not answer:
                    say(f"`etar verify` cannot say: {done.stderr.strip()}")
                return answer
            time.sleep(_VERIFY_EVERY_SECONDS)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return


@contextmanager
def _paused(processes: list[psutil.Process]) -> Iterator[None]:
    try:
        for process in processes:
            with _gone_is_fine():
                process.suspend()
        yield
    finally:
        for process in processes:
            with _gone_is_fine():
                process.resume()


def _newest_report(url: str, headers: dict[str, str]) -> MinuteWindow | None:
    try:
        answer = httpx.get(f"{url}/report", headers=headers, timeout=5)
    except httpx.TransportError:
        return None
    return MinuteWindow.parse(answer.json()["minute"]) if answer.is_success else None


def _stored(stack: Stack, since: datetime) -> int:
    arrived = "WHERE _timestamp >= {since:DateTime64(3, 'UTC')}"
    places = (default_stream().table, "dead_letters")
    offsets = " UNION DISTINCT ".join(f"SELECT _partition, _offset FROM {place} {arrived}" for place in places)
    with warehouse_client(stack.settings.of(WarehouseSettings)) as client:
        ((number,),) = client.query(f"SELECT count() FROM ({offsets})", parameters={"since": since}).result_rows
    return int(number)


def _dead_letters(stack: Stack, since: datetime) -> dict[str, int]:
    client = warehouse_client(stack.settings.of(WarehouseSettings))
    try:
        found = client.query(
            "SELECT reason, uniqExact(_partition, _offset) FROM dead_letters "
            "WHERE _timestamp >= {since:DateTime64(3, 'UTC')} GROUP BY reason",
            parameters={"since": since},
        ).result_rows
    finally:
        client.close()
    return {str(reason): int(number) for reason, number in sorted(found)}


def _differing(verification: dict[str, Any]) -> Iterator[str]:
    for kind in ("minute", "partition"):
        for account in verification.get(f"{kind}s", ()):
            if account["difference"]:
                yield f"{kind} {account[kind]}: {account['difference']}: {account['note']}"
    if verification and verification["totals"]["difference"]:
        yield f"all records: {verification['totals']['difference']}: {verification['totals']['note']}"


def _as_json(hit: Hit) -> dict[str, Any]:
    return asdict(hit.fault) | {
        "began": hit.began.isoformat(),
        "ended": hit.ended.isoformat(),
        "pid": hit.pid,
        "done": hit.done,
    }
