"""What Kafka holds of a topic, and how far a consumer group has come: the facts that settle and verify stand on.

Offsets are given as ``{partition: offset}`` with every partition of the topic present. An offset is always "the next
one": a partition that holds offsets 0..9 has end 10, and a group that has read all of them has committed 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import monotonic, sleep
from types import TracebackType
from typing import Self, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from etar.instants import from_milliseconds
from etar.settings import KafkaSettings, get_settings
from etar.streams import Stream

_MILLISECOND = timedelta(milliseconds=1)
_RETRY_SECONDS = 0.2
_Answer = TypeVar("_Answer")

_NOT_YET = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        # Of a new leader, until it knows how far its followers are: before, its end could be below what was read.
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        # Of a topic that was made a moment ago: the controller knows it, and this broker not yet.
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""What a broker answers that has just started, or a topic that has just been made: asked again within the timeout."""


class KafkaUnavailableError(ConnectionError):
    """Kafka did not answer in time; the same question may be asked again later."""


class UnknownTopicError(LookupError):
    """The topic does not exist, so there is nothing to count."""


def settled(target: Mapping[int, int], committed: Mapping[int, int]) -> bool:
    """Whether a group has committed past everything in ``target`` (as :meth:`TopicOffsets.held_at` gives it)."""
    return not behind(target, committed)


def behind(target: Mapping[int, int], committed: Mapping[int, int]) -> dict[int, int]:
    """Records that a group still has to commit before it reaches ``target``, for the partitions where it has not."""
    return {
        partition: offset - committed.get(partition, 0)
        for partition, offset in sorted(target.items())
        if committed.get(partition, 0) < offset
    }


class TopicOffsets:
    """Offsets of one topic, asked anew on every call. A context manager; also closed by :meth:`close`.

    Every method raises:
        KafkaUnavailableError: no answer within the timeout.
        UnknownTopicError: the topic does not exist (topic auto-creation is off everywhere).
    """

    def __init__(self, topic: str, configuration: Mapping[str, str | int], *, timeout: float) -> None:
        self._topic = topic
        self._configuration = configuration
        self._timeout = timeout
        self._admin = AdminClient(dict(configuration))
        self._readers: dict[str, Consumer] = {}

    @classmethod
    def connect(cls, topic: str, *, settings: KafkaSettings, timeout: float = 10.0) -> Self:
        """For ``topic``, waiting at most ``timeout`` seconds for each answer; connects on the first question."""
        configuration: dict[str, str | int] = {
            "bootstrap.servers": settings.bootstrap_servers,
            "client.id": "etar-offsets",
            "socket.timeout.ms": int(timeout * 1000),
            # A broker that is away is told by the typed error; librdkafka would print a line per attempt as well.
            "log_level": 2,
        }
        return cls(topic, configuration, timeout=timeout)

    def partitions(self) -> list[int]:
        """Partition numbers, ascending."""
        try:
            metadata = self._admin.list_topics(topic=self._topic, timeout=self._timeout).topics[self._topic]
        except KafkaException as error:
            raise self._unavailable(error) from error
        if metadata.error is not None or not metadata.partitions:
            raise UnknownTopicError(
                f"Kafka has no topic {self._topic!r} ({metadata.error}); `etar up` creates it, or create it yourself"
            )
        return sorted(metadata.partitions)

    def low(self) -> dict[int, int]:
        """First offset still held, per partition (retention moves it up)."""
        return self._list(OffsetSpec.earliest())

    def end(self) -> dict[int, int]:
        """Offset that the next record will get, per partition."""
        return self._list(OffsetSpec.latest())

    def stable_end(self) -> dict[int, int]:
        """Offset up to which Kafka gives out records, per partition: its end, or the start of an open transaction."""
        return self._list(OffsetSpec.latest(), isolation=IsolationLevel.READ_COMMITTED)

    def held_at(self, instant: datetime) -> dict[int, int]:
        """End offset that each partition had at ``instant``: the records below it were appended before ``instant``.

        Exact for topics with ``message.timestamp.type=LogAppendTime`` and an ``instant`` that has passed; for one
        that has not, what is held now.
        """
        if instant.tzinfo is None:
            raise ValueError(f"{instant!r} has no time zone")
        # The end is asked for first. A partition with no record at or after the instant by the second question had
        # none in between either, so this end is exact; asked for afterwards it could count newer records.
        end = self.end()
        since = self._list(OffsetSpec.for_timestamp(_epoch_milliseconds(instant)))
        return {partition: since[partition] if since[partition] >= 0 else end[partition] for partition in end}

    def committed(self, group: str) -> dict[int, int]:
        """What ``group`` has committed, per partition; where it never did, the first offset still held."""
        asked = [TopicPartition(self._topic, partition) for partition in self.partitions()]
        reader = self._reader(group)

        def ask() -> list[TopicPartition]:
            entries: list[TopicPartition] = reader.committed(asked, timeout=self._timeout)
            return entries

        entries = self._answer(ask)
        low = self.low() if any(entry.offset < 0 for entry in entries) else {}
        return {entry.partition: entry.offset if entry.offset >= 0 else low[entry.partition] for entry in entries}

    def readers(self, group: str) -> dict[int, str]:
        """The member of ``group`` that each partition is given to, by its client's name and host; those without one
        are left out."""

        def ask() -> dict[int, str]:
            (found,) = self._admin.describe_consumer_groups([group], request_timeout=self._timeout).values()
            return {
                place.partition: f"{member.client_id} ({member.host.lstrip('/')})"
                for member in found.result().members
                for place in member.assignment.topic_partitions
                if place.topic == self._topic
            }

        return self._answer(ask)

    def taken_at(self, partition: int, offset: int) -> datetime | None:
        """When Kafka took the first record at or after ``offset``, of an open transaction too; None without one."""
        reader = Consumer(
            {
                **self._configuration,
                "group.id": "etar-offsets",  # a consumer must name one; without a subscription it is never joined
                "isolation.level": "read_uncommitted",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            reader.assign([TopicPartition(self._topic, partition, offset)])
            deadline = monotonic() + self._timeout
            while monotonic() < deadline:
                message = reader.poll(self._timeout)
                if message is None:
                    continue
                if message.error() is None:
                    return from_milliseconds(message.timestamp()[1])
                if message.error().code() == KafkaError._PARTITION_EOF:
                    return None
            raise self._unavailable(TimeoutError(f"no record of partition {partition}"))
        finally:
            reader.close()

    def topic_id(self) -> str:
        """What Kafka knows the topic by: one that is deleted and made again has another."""

        def ask() -> str:
            (found,) = self._admin.describe_topics(
                TopicCollection([self._topic]), request_timeout=self._timeout
            ).values()
            return str(found.result().topic_id)

        return self._answer(ask)

    def settings(self) -> dict[str, str]:
        """The topic's settings by Kafka's names for them, those that are nobody's own included."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._topic)

        def ask() -> dict[str, str]:
            entries = self._admin.describe_configs([resource], request_timeout=self._timeout)[resource].result()
            return {name: entry.value for name, entry in entries.items()}

        return self._answer(ask)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._admin.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _reader(self, group: str) -> Consumer:
        # A consumer that never subscribes: it reads the group's commits and does not become a member. The admin
        # client's list_consumer_group_offsets ends the whole process with SIGSEGV while the group's coordinator is
        # loading, as it is after every start of the broker (librdkafka reaches for a group the admin has not).
        if group not in self._readers:
            self._readers[group] = Consumer({**self._configuration, "group.id": group})
        return self._readers[group]

    def _list(self, spec: OffsetSpec, *, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> dict[int, int]:
        asked = {TopicPartition(self._topic, partition): spec for partition in self.partitions()}

        def ask() -> dict[int, int]:
            futures = self._admin.list_offsets(asked, request_timeout=self._timeout, isolation_level=isolation)
            return {entry.partition: int(future.result(self._timeout).offset) for entry, future in futures.items()}

        return self._answer(ask)

    def _answer(self, ask: Callable[[], _Answer]) -> _Answer:
        deadline = monotonic() + self._timeout
        while True:
            try:
                return ask()
            except (KafkaException, TimeoutError) as error:
                code = error.args[0].code() if isinstance(error, KafkaException) else None
                if code not in _NOT_YET or monotonic() > deadline:
                    raise self._unavailable(error) from error
                sleep(_RETRY_SECONDS)

    def _unavailable(self, error: Exception) -> KafkaUnavailableError:
        return KafkaUnavailableError(
            f"Kafka did not answer about topic {self._topic!r} within {self._timeout:g} s: {error}; "
            "is the broker running, and is ETAR_KAFKA_BOOTSTRAP_SERVERS right?"
        )


def first_held(stream: Stream) -> dict[int, int]:
    """First offset that Kafka still holds, by partition.

    Raises:
        KafkaUnavailableError: no answer.
    """
    with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as offsets:
        return offsets.low()


def _epoch_milliseconds(instant: datetime) -> int:
    """Rounded up, as a record appended in the millisecond before ``instant`` was appended before it."""
    epoch = datetime.fromtimestamp(0, tz=instant.tzinfo)
    return -((epoch - instant) // _MILLISECOND)
