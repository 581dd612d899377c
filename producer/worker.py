"""One process of a run: makes or reads its part of the records, sends them, and counts them where its parent sees it.

The parent writes the task as one line of JSON to standard input, then the start in milliseconds as another once every
worker has said that it is ready; closing standard input stops the run (so that a parent that was killed leaves no
worker behind). A worker says on standard output, in lines of JSON, that it is ready and how it ended. Its counts are in
memory that the parent holds as well. SIGTERM stops; a second one does not wait for Kafka.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np
import numpy.typing as npt
from confluent_kafka import Producer

from etar.event_times import EventTimeBounds
from etar.processor_time import collect_seldom
from etar.rows.values import Values
from etar.settings import EventTimeSettings, KafkaSettings, get_settings
from etar.stream_code import StreamCodeError
from etar.streams import stream_named
from producer.account import RejectReason
from producer.block_publisher import BlockPublisher
from producer.event_log import EventLog
from producer.input_file import InputFileError, Piece, Reject, StoppedError, find_files, read_pieces
from producer.logs import show_logs
from producer.made_up import made_up
from producer.publisher import (
    RECORDS_BETWEEN_POLLS,
    Publisher,
    Stop,
    TopicMissingError,
    longest_batch,
    producer_configuration,
)
from producer.schedule import Schedule, SystemClock, due
from producer.tally import Tally
from producer.task import Connected, WorkerReport, WorkerTask, connect
from producer.traffic import NoTrafficError
from producer.wire import SchemaRefusedError

if TYPE_CHECKING:
    from etar.rows.conversion import Converter

_log = logging.getLogger(__name__)

_RECORDS_A_BLOCK = 8192
_LINGER_MS = 5
"""A block is waited for as a whole, and its first records are on their way while the last are handed over."""

_REASONS = 100
_OTHER_REASONS = "other reasons"
_STOPPED = "stopped {} of the input; sending all of it again is safe, an event that is sent twice counts once"


class Worker:
    """Runs one task."""

    def __init__(self, task: WorkerTask, stop: Stop) -> None:
        self._task = task
        self._options = task.options
        self._stream = stream_named(task.options.stream)
        self._stop = stop
        self._tally = Tally(task.tally)
        self.rejects = _Rejects(task.options.reject_path, self._tally)
        self._believed = _Believed(self._tally)

    def run(self, connected: Connected, start: int) -> None:
        """Send everything there is to send from ``start`` (milliseconds) on, and wait until its fate is known.

        Raises:
            InputFileError: the file cannot be read to its end; what came before is sent.
            StreamCodeError: the stream's own code failed; what came before is sent.
            NoTrafficError: the stream's traffic does not know what was asked of it.
        """
        path = self._options.event_log
        with EventLog(path, connected.encoding) if path else contextlib.nullcontext() as event_log:
            send = self._send_files if self._options.input else self._send_traffic
            send(connected, event_log, start)

    def _producer(self, **how: Any) -> Producer:
        """Kafka's client, with what depends on what is sent (:func:`producer.publisher.producer_configuration`)."""
        options = self._options
        return Producer(
            producer_configuration(
                get_settings(KafkaSettings),
                queue_records=options.queue_records,
                delivery_timeout=options.delivery_timeout,
                compression=self._stream.compression,
                **how,
            )
        )

    def _send_traffic(self, connected: Connected, event_log: EventLog | None, start: int) -> None:
        options, encoding = self._options, connected.encoding
        rate = options.events_per_second
        publisher = BlockPublisher(
            self._producer(linger_ms=_LINGER_MS, only_failures=event_log is None),
            options.topic,
            encoding,
            partitions=connected.partitions,
            tally=self._tally,
            stop=self._stop,
            event_log=event_log,
        )
        try:
            traffic = made_up(
                self._stream,
                encoding,
                seed=options.seed or 0,
                worker=self._task.chance,
                rate=rate / self._task.workers,
                mix=options.mix,
            )
            for instants in self._due(publisher.wait, start, rate, min(_RECORDS_A_BLOCK, options.queue_records)):
                left = len(instants)
                while left:
                    sent = publisher.send(traffic.block(instants[-left:]))
                    if sent is None:
                        return
                    left -= sent
        finally:
            publisher.close(options.stop_timeout)

    def _send_files(self, connected: Connected, event_log: EventLog | None, start: int) -> None:
        # Here: pyarrow, which made-up traffic need not load.
        from producer.converters import converter_of, layout_of

        collect_seldom()
        options, encoding = self._options, connected.encoding
        longest = longest_batch(get_settings(KafkaSettings), options.topic)
        publisher = Publisher(
            self._producer(longest=longest),
            options.topic,
            encoding,
            tally=self._tally,
            stop=self._stop,
            event_log=event_log,
        )
        values = Values(options.nulls, options.texts)
        converter, layout = converter_of(self._stream, values, encoding.header, longest), layout_of(self._stream)
        instants = self._instants(publisher.wait, start)
        try:
            with self.rejects:
                for piece in read_pieces(find_files(options.input), layout, self._stop, self._tally.read):
                    if isinstance(piece, Reject):
                        self.rejects.add(piece)
                    else:
                        self._send_piece(piece, converter, publisher, instants)
        except StoppedError:
            raise InputFileError(_STOPPED.format("before the end")) from None
        finally:
            publisher.close(options.stop_timeout)

    def _send_piece(
        self,
        piece: Piece,
        converter: Converter,
        publisher: Publisher,
        instants: Iterator[int],
    ) -> None:
        now = SystemClock().now()
        records, errors = converter.convert(piece.columns, len(piece.lines))
        for index, error in errors.items():
            self.rejects.add(piece.reject(index, error))
        self.rejects.flush()
        at_once = RECORDS_BETWEEN_POLLS if self._options.rate is None else 1
        for part in records.parts(at_once):
            if next(instants, None) is None:
                raise StoppedError
            self._believed.look_at(part.times, now)
            if not publisher.send(part):
                raise StoppedError

    def _instants(self, wait: Callable[[float], object], start: int) -> Iterator[int]:
        """When the parts of a file are due, once they are."""
        if self._options.rate is None:
            while not self._stop.requested:
                yield start
            return
        for instants in self._due(wait, start, self._options.rate, RECORDS_BETWEEN_POLLS):
            yield from instants.tolist()

    def _due(
        self, wait: Callable[[float], object], start: int, rate: float, most: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        task = self._task
        schedule = Schedule(start, rate, task.worker, task.workers, self._options.total, task.made)
        return due(
            schedule, SystemClock(), linger=self._stream.traffic_linger, wait=wait, stopping=self._stop, most=most
        )


class _Believed:
    """Says before it is sent that the pipeline will refuse an event for its time, once, and counts them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bounds = EventTimeBounds.of(get_settings(EventTimeSettings))
        self._said = False

    def look_at(self, times: npt.NDArray[np.int64], now: int) -> None:
        """All in milliseconds since the epoch."""
        if self._bounds.believe(int(times.min()), now) and self._bounds.believe(int(times.max()), now):
            return
        for happened in times.tolist():
            if not self._bounds.believe(happened, now):
                self._disbelieve(happened)

    def _disbelieve(self, happened: int) -> None:
        self._tally.disbelieved()
        if not self._said:
            self._said = True
            _log.warning(
                "the pipeline refuses events as old, or as far ahead, as the one that is sent now (%s): they become "
                "dead letters and are in no report. ETAR_PIPELINE_HORIZON_HOURS and _MAX_AHEAD_SECONDS say how far",
                datetime.fromtimestamp(happened / 1000, UTC).isoformat(timespec="seconds"),
            )


class _Rejects:
    """The file of lines that are no events, made when there is one, and their reasons."""

    def __init__(self, path: Path | None, tally: Tally) -> None:
        self._path = path
        self._tally = tally
        self._file: TextIO | None = None
        self._first: dict[str, Reject] = {}
        self._lines: Counter[str] = Counter()

    def add(self, reject: Reject) -> None:
        assert self._path is not None  # noqa: S101  an input always has one
        self._file = self._file or self._path.open("w", encoding="utf-8", errors="backslashreplace")
        self._file.write(reject.to_json() + "\n")
        self._tally.rejected()
        # A kind names a field and what it should be; a word or a field's name in it may be another in each line.
        kind = reject.kind if reject.kind in self._first or len(self._first) < _REASONS else _OTHER_REASONS
        self._first.setdefault(kind, reject)
        self._lines[kind] += 1

    def flush(self) -> None:
        if self._file:
            self._file.flush()

    def reasons(self) -> tuple[RejectReason, ...]:
        """The most frequent first."""
        return tuple(
            RejectReason(
                reason=kind,
                lines=lines,
                file=self._first[kind].file,
                line=self._first[kind].line,
                example=self._first[kind].reason,
            )
            for kind, lines in self._lines.most_common()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()


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
        connected = connect(task.options, stop)
        parent.tell(WorkerReport())
        start = parent.start()
        if connected is not None and start is not None:
            worker.run(connected, start)
        elif task.options.input:
            error = _STOPPED.format("before the first line")
    except (
        InputFileError, NoTrafficError, SchemaRefusedError, StreamCodeError, TopicMissingError, OSError
    ) as problem:  # fmt: skip
        error = str(problem)
    parent.tell(WorkerReport(final=True, error=error, rejects=worker.rejects.reasons()))
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
