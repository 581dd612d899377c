"""A run of the producer: several worker processes, one rate, one account."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from etar.progress import Told, say_nothing
from etar.streams import stream_named
from producer.account import Account, Counts, RejectReason
from producer.input_file import STDIN, InputFileError, find_files, read_pieces
from producer.options import ProduceOptions, require_different_files
from producer.publisher import Stop
from producer.tally import Tally, shared_memory
from producer.task import WorkerReport, WorkerTask, connect
from producer.traffic import require_traffic

_log = logging.getLogger(__name__)

_DESCRIPTORS = Path("/dev/fd")
_TOLD_EVERY_SECONDS = 0.2
_KILL_AFTER_SECONDS = 5.0  # beyond the time that a stopped worker may take


def produce(options: ProduceOptions, told: Told = say_nothing) -> Account:
    """Send made-up traffic, or a file of events, until it is done or SIGTERM or SIGINT stops it.

    Waits for a registry or Kafka that is away. Whatever happens on the way is in the account: a failed delivery, a
    worker that died (the others are then stopped, unless ``options.respawn`` has another started in its place). A
    second signal does not wait for what Kafka has not acknowledged.

    ``told``: how many bytes of the input have been read, of how many.

    Blocks; not to be called inside a running event loop. Signals are taken only in the main thread.

    Raises:
        InputFileError: the input file as a whole cannot be used.
        NoTrafficError: there is no input file, and the stream has no made-up traffic.
        StreamCodeError: the stream's folder has a converter of its own, which cannot be loaded.
        StreamFaultError, UnknownStreamError: there is no such stream, or its folder has faults.
        SchemaRefusedError: the registry does not take the schema.
        TopicMissingError: Kafka has no such topic.
        OSError: a file to be written cannot be.
    """
    if not options.input:
        require_traffic(stream_named(options.stream), options.mix)
    if not options.input and options.seed is None:
        # Another seed in each run: event ids follow from it, and the ids of an earlier run would count as its events.
        options = options.model_copy(update={"seed": secrets.randbits(53)})
    with ExitStack() as pipes:
        if options.input:
            options = _with_files_found(options, pipes)
        _prepare_files(options)
        account = asyncio.run(_Run(options, told).account())
    if options.account:
        account.write(options.account)
    return account


def _prepare_files(options: ProduceOptions) -> None:
    """Find out now, and not after an hour, whether the files can be read and written; empty those of an earlier run."""
    if options.input:
        # Here: pyarrow and NumPy, which made-up traffic need not load.
        from producer.converters import layout_of

        layout = layout_of(stream_named(options.stream))
        for path in filter(Path.is_file, options.input):
            with closing(read_pieces([path], layout)) as pieces:  # type: ignore[type-var]
                next(pieces, None)
    if options.account and not options.account.parent.is_dir():
        raise FileNotFoundError(f"{options.account}: there is no folder {options.account.parent}")
    if options.event_log:
        options.event_log.write_bytes(b"")
    if options.reject_path:
        options.reject_path.write_bytes(b"")
        options.reject_path.unlink()


def _with_files_found(options: ProduceOptions, pipes: ExitStack) -> ProduceOptions:
    """The same with every single file named, and pipes by descriptors that a worker can be given."""
    files = find_files(options.input)
    try:
        require_different_files([*(("input", path) for path in files if path.is_file()), *options.written.items()])
    except ValueError as error:
        raise InputFileError(str(error)) from error
    found = []
    for path in files:
        descriptor = 0 if path == STDIN or path == Path("/dev/stdin") else _descriptor_of(path)
        if descriptor is None:
            found.append(path)
        else:
            own = os.dup(descriptor)
            pipes.callback(os.close, own)
            found.append(_DESCRIPTORS / str(own))
    return options.model_copy(update={"input": tuple(found), "rejects": options.reject_path})


def _descriptor_of(path: Path) -> int | None:
    return int(path.name) if path.parent == _DESCRIPTORS and path.name.isdigit() else None


class _WorkerProcess:
    """A worker as its parent sees it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, tally: Tally) -> None:
        self.number = number
        self._process = process
        self._tally = tally
        self._report: WorkerReport | None = None
        self.ready = asyncio.Event()
        """Set once the worker has connected, and also when it ended."""

    @classmethod
    async def begin(
        cls, options: ProduceOptions, number: int, *, incarnation: int = 0, made: int = 0
    ) -> _WorkerProcess:
        """Start worker ``number``; see :class:`WorkerTask` for the other arguments."""
        memory = shared_memory()
        try:
            tally = Tally(memory)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "producer.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(memory, *filter(None, map(_descriptor_of, options.input))),
                # Out of the terminal's reach: Ctrl-C is the parent's, who stops each worker once.
                start_new_session=True,
            )
        finally:
            os.close(memory)
        worker = cls(number, process, tally)
        task = WorkerTask(
            options=options,
            worker=number,
            workers=options.processes,
            tally=memory,
            incarnation=incarnation,
            made=made,
        )
        worker._tell(task.model_dump_json(exclude_unset=True))
        return worker

    async def follow(self) -> None:
        """Take its reports until it has ended."""
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        async for line in self._process.stdout:
            self._report = WorkerReport.model_validate_json(line)
            self.ready.set()
        await self._process.wait()
        self.ready.set()
        if self.error:
            _log.error("%s", self.error)

    def start(self, at: int) -> None:
        self._tell(str(at))

    def stop(self) -> None:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.close()

    def hurry(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    @property
    def counts(self) -> Counts:
        return self._tally.counts()

    @property
    def bytes_read(self) -> int:
        return self._tally.bytes_read

    @property
    def killed(self) -> bool:
        """Whether a signal ended it before it was done."""
        return self._died and self._process.returncode is not None and self._process.returncode < 0

    @property
    def in_doubt(self) -> int:
        """Records whose fate went with a worker that died."""
        return self.counts.under_way if self._died else 0

    @property
    def rejects(self) -> tuple[RejectReason, ...]:
        return self._report.rejects if self._report else ()

    @property
    def error(self) -> str | None:
        """What went wrong with a worker that has ended; None: nothing."""
        if self._report and self._report.final:
            return self._report.error
        return (
            f"worker {self.number} died (exit code {self._process.returncode}); Kafka may or may not hold the "
            f"{self.in_doubt} records that it had under way"
        )

    @property
    def _died(self) -> bool:
        return self._report is None or not self._report.final

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.write(line.encode() + b"\n")


class _Run:
    def __init__(self, options: ProduceOptions, told: Told) -> None:
        self._options = options
        self._told = told
        self._stop = Stop()
        self._stopped = asyncio.Event()
        self._workers: list[_WorkerProcess] = []
        self._replaced: list[_WorkerProcess] = []
        self._start: int | None = None

    async def account(self) -> Account:
        options = self._options
        started = ended = datetime.now(UTC)
        with self._signals():
            try:
                if await asyncio.to_thread(connect, options, self._stop):
                    await self._begin()
                    started = await self._supervise()
                    ended = datetime.now(UTC)
            finally:
                for worker in self._workers:
                    worker.kill()
        everyone = [*self._workers, *self._replaced]
        return Account(
            topic=options.topic,
            seed=options.seed,
            workers=options.processes,
            started_at=started,
            ended_at=ended,
            counts=sum((worker.counts for worker in everyone), Counts()),
            in_doubt=sum(worker.in_doubt for worker in everyone),
            respawns=len(self._replaced),
            reject_file=_existing(options.reject_path),
            reject_reasons=tuple(reason for worker in everyone for reason in worker.rejects),
            errors=tuple(worker.error for worker in self._workers if worker.error) or self._nothing_begun(),
        )

    def _nothing_begun(self) -> tuple[str, ...]:
        return ("stopped before the first line of the input",) if self._options.input and not self._workers else ()

    async def _begin(self) -> None:
        for number in range(self._options.processes):
            self._workers.append(await _WorkerProcess.begin(self._options, number))

    async def _supervise(self) -> datetime:
        """Start all workers at one instant, which is returned, and follow them to their ends."""
        stopper = asyncio.create_task(self._stop_workers())
        teller = asyncio.create_task(self._tell())
        followers = [asyncio.create_task(self._follow(number)) for number in range(len(self._workers))]
        for worker in self._workers:
            await worker.ready.wait()
        started = datetime.now(UTC)
        if not self._stop.requested:
            self._start = int((self._options.start or started).timestamp() * 1000)
            for worker in self._workers:
                worker.start(self._start)
        await asyncio.gather(*followers)
        stopper.cancel()
        teller.cancel()
        return started

    async def _tell(self) -> None:
        """Say again and again how far the input is; of what comes through a pipe nobody knows how much is left."""
        files = self._options.input
        size = sum(path.stat().st_size for path in files) if all(map(Path.is_file, files)) else None
        while files:
            everyone = [*self._workers, *self._replaced]
            sent = sum(worker.counts.acknowledged for worker in everyone)
            self._told(sum(worker.bytes_read for worker in everyone), size, f"{sent:,} events sent")
            await asyncio.sleep(_TOLD_EVERY_SECONDS)

    async def _follow(self, number: int) -> None:
        await self._workers[number].follow()
        while self._workers[number].killed and self._options.respawn and not self._stop.requested:
            await self._replace(number)
            await self._workers[number].follow()
        if self._workers[number].error:
            self._request_stop()  # a run without one of its workers is not the run that was asked for

    async def _replace(self, number: int) -> None:
        """Start another worker in place of one that was killed, to make what is left of its records."""
        self._replaced.append(self._workers[number])
        before = [worker for worker in self._replaced if worker.number == number]
        made = sum(sum(worker.counts.generated.values()) for worker in before)
        worker = await _WorkerProcess.begin(self._options, number, incarnation=len(before), made=made)
        self._workers[number] = worker
        if self._start is not None:
            worker.start(self._start)
        if self._stop.requested:
            worker.stop()

    async def _stop_workers(self) -> None:
        await self._stopped.wait()
        for worker in self._workers:
            worker.stop()
        await asyncio.sleep(self._options.stop_timeout.total_seconds() + _KILL_AFTER_SECONDS)
        for worker in self._workers:
            worker.kill()

    def _request_stop(self) -> None:
        self._stop.requested = True
        self._stopped.set()

    def _on_signal(self) -> None:
        if self._stop.requested:
            for worker in self._workers:
                worker.hurry()
        self._request_stop()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


def _existing(path: Path | None) -> Path | None:
    return path if path and path.exists() else None
