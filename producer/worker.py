"""One process of a run: makes or reads its part of the records, sends them, and counts them where its parent sees it.

The parent writes the task as one line of JSON to standard input, then the start in milliseconds as another once every
worker has said that it is ready; closing standard input stops the run (so that a parent that was killed leaves no
worker behind). A worker says on standard output, in lines of JSON, that it is ready and how it ended. Its counts are in
memory that the parent holds as well. SIGTERM stops; a second one does not wait for Kafka.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Producer
from pydantic import BaseModel, ConfigDict

from etar.settings import KafkaSettings, RegistrySettings, get_settings
from producer.event_log import EventLog
from producer.input_file import InputFileError, Reject, read_events
from producer.logs import show_logs
from producer.options import ProduceOptions
from producer.publisher import Publisher, Stop, TopicMissingError, producer_configuration, require_topic
from producer.schedule import Schedule, SystemClock, due
from producer.shop import EventFactory
from producer.tally import Tally
from producer.traffic import Draft, Kind, Traffic
from producer.user_event import UserEvent
from producer.waiting import until_there
from producer.wire import SchemaRefusedError, open_serializer

_THINKING_SECONDS = 5.0


class WorkerTask(BaseModel):
    """What one worker has to do. ``options.seed`` is always set for made-up traffic.

    ``tally`` is the descriptor it counts in. ``incarnation`` is how many were killed in this worker's place before it,
    and ``made`` how many of its records they made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: ProduceOptions
    worker: int
    workers: int
    tally: int
    incarnation: int = 0
    made: int = 0

    @property
    def chance(self) -> int:
        """What tells its events apart from those of every other worker of the run, dead ones included.

        One that is started in place of another must not send the same event ids again: an id counts once.
        """
        return self.worker + self.incarnation * self.workers


class WorkerReport(BaseModel):
    """That a worker is ready; ``final``: that it has ended. ``error`` says why it could not do all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    final: bool = False
    error: str | None = None


def connect(options: ProduceOptions, stopping: Callable[[], bool]) -> Callable[[UserEvent], bytes] | None:
    """Wait for registry and Kafka; what encodes events, or None when ``stopping()`` came first.

    Raises:
        SchemaRefusedError: the registry does not take the schema.
        TopicMissingError: Kafka has no such topic.
    """
    kafka, registry = get_settings(KafkaSettings), get_settings(RegistrySettings)
    serialize = until_there(lambda: open_serializer(registry, options.topic), stopping=stopping, pause=time.sleep)
    until_there(lambda: require_topic(kafka, options.topic), stopping=stopping, pause=time.sleep)
    return None if stopping() else serialize


class Worker:
    """Runs one task."""

    def __init__(self, task: WorkerTask, stop: Stop) -> None:
        self._task = task
        self._options = task.options
        self._stop = stop
        self._tally = Tally(task.tally)

    def run(self, serialize: Callable[[UserEvent], bytes], start: int) -> None:
        """Send everything there is to send from ``start`` (milliseconds) on, and wait until its fate is known.

        Raises:
            InputFileError: the file cannot be read to its end; what came before is sent.
        """
        options = self._options
        configuration = producer_configuration(
            get_settings(KafkaSettings),
            queue_records=options.queue_records,
            delivery_timeout=options.delivery_timeout,
        )
        with ExitStack() as open_files:
            event_log = open_files.enter_context(EventLog(options.event_log)) if options.event_log else None
            publisher = Publisher(
                Producer(configuration),
                options.topic,
                serialize,
                tally=self._tally,
                stop=self._stop,
                event_log=event_log,
            )
            try:
                if options.input:
                    self._send_file(options.input, publisher, start)
                else:
                    self._send_traffic(publisher, start)
            finally:
                publisher.close(options.stop_timeout)

    def _send_traffic(self, publisher: Publisher, start: int) -> None:
        options, chance = self._options, self._task.chance
        seed = options.seed or 0
        mix = options.mix
        per_worker = options.events_per_second / self._task.workers
        factory = EventFactory(
            seed=seed,
            worker=chance,
            errors=mix.errors,
            late=mix.late,
            late_by=round(mix.late_by.total_seconds() * 1000),
            # As many visits as make a user think for some seconds between two steps, up to a rate of a thousand.
            concurrent=max(20, min(5_000, round(per_worker * _THINKING_SECONDS))),
        )
        traffic = Traffic(factory, seed=seed, worker=chance, duplicates=mix.duplicates, malformed=mix.malformed)
        for instant in self._due(publisher, start, options.events_per_second):
            if not publisher.send(traffic.next(instant)):
                return

    def _send_file(self, path: Path, publisher: Publisher, start: int) -> None:
        instants = self._due(publisher, start, self._options.rate)
        rejects = self._options.reject_path
        assert rejects is not None  # noqa: S101  an input file always has one
        with ExitStack() as open_files:
            reject_file = None
            for line in read_events(path):
                if isinstance(line, Reject):
                    reject_file = reject_file or open_files.enter_context(rejects.open("w", encoding="utf-8"))
                    reject_file.write(line.to_json() + "\n")
                    self._tally.rejected()
                elif next(instants, None) is None or not publisher.send(Draft(Kind.EVENT, line)):
                    raise InputFileError(
                        f"stopped before the end of {path}; sending the whole file again is safe, "
                        "an event that is sent twice counts once"
                    )

    def _due(self, publisher: Publisher, start: int, rate: float | None) -> Iterator[int]:
        if rate is None:
            while not self._stop.requested:
                yield start
            return
        task = self._task
        schedule = Schedule(start, rate, task.worker, task.workers, self._options.total, task.made)
        yield from due(schedule, SystemClock(), wait=publisher.wait, stopping=self._stop)


class _Parent:
    """The other end of standard input and output, read and written without a buffer: a thread that is still reading
    when the process ends would hold the buffer's lock, and Python aborts over that."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._input = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  standard input has no path
        self._started = threading.Event()
        self._start: int | None = None

    def task(self) -> WorkerTask:
        return WorkerTask.model_validate_json(self._input.readline())

    def listen(self) -> None:
        """Take the start from standard input, then wait for its end, beside the main thread."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._input:
            self._start = int(line)
            self._started.set()
        self._stop.requested = True
        self._started.set()

    def start(self) -> int | None:
        """When to start, in milliseconds, once the parent says so; None: it said to stop."""
        while not self._stop.requested and not self._started.wait(0.1):
            pass
        return self._start

    def tell(self, report: WorkerReport) -> None:
        # A parent that is gone has closed standard input too, which stops the run; there is nobody left to tell.
        with contextlib.suppress(BrokenPipeError):
            os.write(1, report.model_dump_json().encode() + b"\n")


def main() -> int:
    """Run the task that standard input names. Exit code: 0, or 1 if not all of it could be done."""
    stop = Stop()
    parent = _Parent(stop)
    task = parent.task()
    show_logs(f"producer worker {task.worker}")

    def on_signal(_number: int, _frame: object) -> None:
        stop.at_once = stop.requested
        stop.requested = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    parent.listen()
    worker = Worker(task, stop)
    error = None
    try:
        serialize = connect(task.options, stop)
        parent.tell(WorkerReport())
        start = parent.start()
        if serialize is not None and start is not None:
            worker.run(serialize, start)
    except (InputFileError, SchemaRefusedError, TopicMissingError, OSError) as problem:
        error = str(problem)
    parent.tell(WorkerReport(final=True, error=error))
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
