"""The sink's side of Kafka: batches in, commits out, and membership of the group kept through every wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from threading import Thread
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connect.native_sink.pace import FETCH_WAIT_MS, Pace
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.records.batch import Batch
from etar.settings import KafkaSettings, SinkSettings

_log = logging.getLogger(__name__)

_SESSION_TIMEOUT_MS = 10_000
_MAX_POLL_INTERVAL_MS = 300_000
_CHUNK_ROWS = 10_000
_LOOK_SECONDS = 1.0
"""Between two looks at whether to stop."""

_BATCH_BYTES = 64 * 1024 * 1024
"""A batch ends here even when it has few rows, so that large values cannot fill the memory."""

_TOPIC_CHECKED_EVERY_SECONDS = 10.0
_TOPIC_ANSWER_SECONDS = 2.0

_COMMIT_LOOKED_AT_EVERY_SECONDS = 15.0
"""Above the session's 10 s, after which Kafka's client itself gives most commits up."""

_COMMIT_NOT_OURS = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
        KafkaError._STATE,
    }
)


_NOTHING_TOUCHED = (
    'Nothing was read or changed; `etar topic begin-anew` goes on (docs/operations.md, "A topic that was made anew")'
)


class KafkaAwayError(ConnectionError):
    """A commit did not get through; it may be tried again."""


class OtherLogError(Exception):
    """The topic is not the one whose records are stored and committed: its offsets are those of other records."""


def made_anew(topic: str, *, known: str, found: str) -> str:
    """What to say of a topic that is another one than the one whose records are stored."""
    return (
        f"the topic {topic!r} was made anew: what is stored is of the one that Kafka knew as {known}, and this one is "
        f"{found}. {_NOTHING_TOUCHED}"
    )


def _consumer(kafka: KafkaSettings, *, group: str, member: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "client.id": member,
            "group.id": group,
            "group.instance.id": member,
            "session.timeout.ms": _SESSION_TIMEOUT_MS,
            # How long a commit waits for a coordinator that is away, too: the default of a minute is six sessions.
            "socket.timeout.ms": _SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 3_000,
            "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
            # Where to go on is decided at each assignment, never by the client: it would pass over what is gone.
            "auto.offset.reset": "error",
            # Aborted records and transaction markers are never given out; only the end says that they were passed.
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "topic.metadata.refresh.interval.ms": 10_000,
            # Under steady traffic the broker would otherwise answer each record or two with a request of their own.
            "fetch.min.bytes": 100_000,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
        },
        logger=logging.getLogger("librdkafka"),
    )


def _is_event(message: Message) -> bool:
    return message.error() is not None


class _Commit:
    """A commit under way, in a thread of its own.

    Kafka's client (librdkafka 2.16) gives up a commit after its timeout if it knows that the broker is gone; if it has
    not noticed, the call blocks for as long as the outage lasts, and who blocks neither polls nor can be stopped.
    """

    def __init__(self, consumer: Consumer, topic: str, offsets: dict[int, int]) -> None:
        """Begins it. ``offsets``: of each partition the next one to read; they are kept as they are now."""
        self.offsets = dict(offsets)
        self._consumer = consumer
        self._topic = topic
        self._since = datetime.now(UTC)
        self._answer: Future[KafkaError | None] = Future()
        # As a daemon it keeps no process from ending: what was not committed is read again.
        Thread(target=self._run, name="commit", daemon=True).start()

    def answer(self, seconds: float) -> KafkaError | None:
        """The error that it ended with, if any.

        Raises:
            KafkaAwayError: no answer within these seconds; it may still come.
        """
        try:
            return self._answer.result(seconds)
        except TimeoutError:
            raise KafkaAwayError(f"no answer to a commit since {self._since:%Y-%m-%d %H:%M:%S} UTC") from None

    def _run(self) -> None:
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in self.offsets.items()]
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exception:
            self._answer.set_result(exception.args[0])
        except BaseException as error:
            self._answer.set_exception(error)
        else:
            self._answer.set_result(next((each.error for each in answers if each.error is not None), None))


class Source:
    """Batches of one topic, read as a member of one consumer group.

    Not thread-safe. Rebalances happen inside :meth:`take`, :meth:`rest` and :meth:`commit`; a partition that is taken
    away is forgotten, so that :meth:`commit` never speaks for a partition that is someone else's by then.
    """

    def __init__(
        self, topic: str, *, group: str, instance: str, kafka: KafkaSettings, settings: SinkSettings, pace: Pace
    ) -> None:
        """``instance`` names this member: a successor under the same name goes on at once, without a rebalance.

        ``topic_id`` is Kafka's id of the topic that records are read from; empty before the first.
        """
        self._topic = topic
        self._kafka = kafka
        self._settings = settings
        self._pace = pace
        self.topic_id = ""
        self._topic_checked_at = monotonic()
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._commit: _Commit | None = None
        self._holding = False
        self._polled_at = monotonic()
        self._told_missing = False
        self._consumer = _consumer(kafka, group=group, member=f"{group}-{instance}")
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def take(self, now: Callable[[], float], stopping: Callable[[], bool]) -> Batch:
        """The next records: as many as the settings allow, for as long as :class:`Pace` says; often none.

        Args:
            now: a monotonic clock, in seconds.
            stopping: once true, what was read so far is returned.

        Raises:
            KafkaException: an error that only a new start can cure (for one: another sink took this instance's name).
            OtherLogError: the topic was made anew, or Kafka has lost what it had taken.
            KafkaUnavailableError: Kafka went away while partitions were assigned.
        """
        taken: list[Message] = []
        size = 0
        end = now() + self._pace.seconds()
        while not stopping() and size < _BATCH_BYTES:
            room = self._settings.batch_rows - len(taken)
            if room <= 0 or (left := end - now()) <= 0:
                break
            messages = self._consumer.consume(min(room, _CHUNK_ROWS), timeout=min(left, _LOOK_SECONDS))
            self._polled_at = monotonic()
            for is_event, run in groupby(messages, _is_event):
                if is_event:
                    for event in run:
                        self._note(event)
                    continue
                records = list(run)
                taken += records
                size += sum(map(len, records))  # of their values
                last = {record.partition(): record.offset() for record in records}
                self._next |= {partition: offset + 1 for partition, offset in last.items()}
        self._pace.collected(len(taken))
        # Before what was read is stored: of another topic it would take the place of other records.
        if self.topic_id and monotonic() - self._topic_checked_at > _TOPIC_CHECKED_EVERY_SECONDS:
            self._require_same_topic()
        return Batch.of_messages(taken, self._topic)

    def commit(self) -> None:
        """Commit past everything that :meth:`take` gave out, and past offsets without a record behind it, for the
        partitions that are still ours. Nothing is asked of Kafka where there is nothing new, or where a commit is under
        way: then its answer is waited for once more, and what is newer than it is left to the next call.

        Raises:
            KafkaAwayError: it failed, or there is no answer yet; try again, and rest in between (:meth:`held`).
            KafkaException: an error that only a new start can cure.
        """
        if self._commit is None:
            if not self._next:
                return
            self._commit = _Commit(self._consumer, self._topic, self._next)
        failed = self._commit.answer(_COMMIT_LOOKED_AT_EVERY_SECONDS)
        asked, self._commit = self._commit.offsets, None
        if failed is not None and failed.code() not in _COMMIT_NOT_OURS:
            if failed.fatal():
                raise KafkaException(failed)
            raise KafkaAwayError(f"commit to Kafka failed: {failed}")
        if failed is not None:
            # The rows are stored already; whoever reads them again stores them again, and the table keeps one.
            _log.warning("not committed, as the group was rebalanced meanwhile (%s); these records come again", failed)
        for partition, offset in asked.items():
            # One that was taken away meanwhile is forgotten; one that has come further is committed by the next.
            if self._next.get(partition) == offset:
                del self._next[partition]
                if failed is None:
                    self._committed[partition] = offset

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Yields a function that rests ``retry_seconds``, fetches nothing meanwhile, and stays in the group.

        Where the last poll was long ago, Kafka is polled at once: a batch may take hundreds of attempts that all
        succeed, each of them slowly.
        """
        try:
            if monotonic() - self._polled_at > _MAX_POLL_INTERVAL_MS / 1000 / 10:
                self._poll_held(0)
            yield self._rest
        finally:
            if self._holding:
                self._holding = False
                self._consumer.resume(self._consumer.assignment())

    def behind(self) -> int:
        """How many offsets of the partitions that are ours :meth:`take` has not come past, by what Kafka said last; a
        partition of which nothing was read yet counts nothing."""
        behind = 0
        for entry in self._consumer.position(self._consumer.assignment()):
            partition = entry.partition
            # Past a transaction's last marker it is only the end of the partition that says so.
            come_to = max(entry.offset, self._next.get(partition, -1), self._committed.get(partition, -1))
            _, end = self._consumer.get_watermark_offsets(entry, cached=True)
            if come_to >= 0:
                behind += max(0, end - come_to)
        return behind

    def close(self) -> None:
        """Leave Kafka. Its client waits for a commit under way before it closes: that one ends with the process, and
        the group, which keeps this member's place by its name, takes the next start for the same member.
        """
        if self._commit is None:
            self._consumer.close()

    def _rest(self) -> None:
        self._poll_held(self._settings.retry_seconds)

    def _poll_held(self, seconds: float) -> None:
        # A consumer that does not poll is put out of its group after max.poll.interval.ms, however long an outage is.
        if not self._holding:
            self._holding = True
            self._consumer.pause(self._consumer.assignment())
        message = self._consumer.poll(seconds)
        self._polled_at = monotonic()
        if message is None:
            return
        if message.error() is not None:
            self._note(message)
        else:
            # A paused consumer gives out nothing; should it ever, the record must come again.
            self._consumer.seek(TopicPartition(self._topic, message.partition(), message.offset()))

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign(self._starts(consumer, partitions) if partitions else [])
        # A pause outlives its assignment: what was taken away during a wait comes back paused, though the wait is over.
        (consumer.pause if self._holding else consumer.resume)(partitions)
        _log.info("reading partitions %s", sorted(entry.partition for entry in partitions))

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Each partition with the offset to go on from: the group's commit, else the first that Kafka holds."""
        seconds = _SESSION_TIMEOUT_MS / 1000
        with TopicOffsets.connect(self._topic, settings=self._kafka, timeout=seconds) as offsets:
            self.topic_id, low, end = offsets.topic_id(), offsets.low(), offsets.end()
        starts = []
        for committed in consumer.committed(partitions, timeout=seconds):
            partition, offset = committed.partition, committed.offset
            if offset > end[partition]:
                raise OtherLogError(
                    f"partition {partition} of {self._topic!r} ends at {end[partition]}, and the sink had come to "
                    f"{offset}: the topic was made anew, or Kafka has lost what it had taken, as after a restored "
                    f"backup. {_NOTHING_TOUCHED}"
                )
            if 0 <= offset < low[partition]:
                _log.error(
                    "Kafka has dropped the offsets %d to %d of partition %d, which the sink had not read; the audit "
                    "counts what is in no place",
                    offset,
                    low[partition] - 1,
                    partition,
                )
            starts.append(TopicPartition(self._topic, partition, max(offset, low[partition])))
        return starts

    def _require_same_topic(self) -> None:
        """A topic that is deleted and made again between two looks of Kafka's client is read on as if nothing were."""
        self._topic_checked_at = monotonic()
        try:
            with TopicOffsets.connect(self._topic, settings=self._kafka, timeout=_TOPIC_ANSWER_SECONDS) as offsets:
                found = offsets.topic_id()
        except (KafkaUnavailableError, UnknownTopicError):
            return  # asked again; nothing comes from a topic that is away
        if found != self.topic_id:
            raise OtherLogError(made_anew(self._topic, known=self.topic_id, found=found))

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        _log.warning("the group has given the partitions to others, as Kafka was away or did not hear of this sink")
        self._revoked(consumer, partitions)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for entry in partitions:
            self._next.pop(entry.partition, None)
            self._committed.pop(entry.partition, None)

    def _note(self, event: Message) -> None:
        error = event.error()
        if error.code() == KafkaError._PARTITION_EOF:
            # It stands behind the records before it, so these were given out and are stored when it is committed.
            if self._committed.get(event.partition()) != event.offset():
                self._next[event.partition()] = event.offset()
            return
        # As an event the fatal error has a code of its own, and says of itself that it is not fatal.
        if error.fatal() or error.code() in (KafkaError._FATAL, KafkaError._AUTO_OFFSET_RESET):
            raise KafkaException(error)
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            if not self._told_missing:
                _log.warning("waiting for the topic %r, which does not exist; `etar up` creates it", self._topic)
                self._told_missing = True
        else:
            _log.warning("Kafka says: %s", error)
