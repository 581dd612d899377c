"""Going on with a topic that was made anew, or with a Kafka that was restored: what is stored of the log that has ended
keeps its place under a name of its own, and the new log's offsets are counted from their beginning.

docs/decisions/0015-a-log-that-has-ended.md says why it is done like this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from etar import dead_letters
from etar.audit.marks import Marks
from etar.clients import WarehouseUnavailableError, report_store_connection, warehouse_client
from etar.dead_letters.journal import Author, Journal
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets
from etar.records.warehouse import Warehouse
from etar.settings import KafkaSettings, ReportStoreSettings, WarehouseSettings, get_settings
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg
    from clickhouse_connect.driver.client import Client

Say = Callable[[str], None]

_LONGEST_STATEMENT_SECONDS = 3600
"""One minute's rows are copied by one statement."""

_LOOK_SECONDS = 0.5
_PLACE = "_partition, _offset"
_GROUP_IN_USE = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)
_IN_DOUBT = "its log ended before it was known whether Kafka had taken the record"


class SinkAtWorkError(Exception):
    """A member of the sink's group reads the topic: what it stores and commits meanwhile would be of either log."""


@dataclass(frozen=True)
class Ended:
    """A log that has ended, and what is stored of it.

    Args:
        log: the name that it gets, or that an interrupted command has given it.
        topic_id, found: Kafka's ids of the topic that it was of, and of the one there is now.
        why: how it is known that it has ended.
        interrupted: a command has begun, and not finished.
        rows, letters: with the copies that the tables have not merged yet.
        minutes: arrival minutes that were audited.
        in_doubt: replays of which is not known whether the log had them.
    """

    log: str
    topic_id: str
    found: str
    why: tuple[str, ...]
    interrupted: bool
    rows: int
    letters: int
    minutes: int
    in_doubt: int

    def told(self) -> str:
        """In some lines, for a person."""
        lines = [
            *self.why,
            f"the topic is {self.found} now, and what is stored is of "
            f"{'a log that has ended' if self.topic_id == self.found else self.topic_id}",
            f"{self.rows:,} rows, {self.letters:,} dead letters and the audit of {self.minutes:,} minutes stay, and "
            f"are of {self.log} from now on; reports and ledger stay as they are",
        ]
        if self.in_doubt:
            lines.append(
                f"{self.in_doubt:,} replays of dead letters were interrupted, and nobody can look for them any more: "
                "their letters will be open"
            )
        if self.interrupted:
            lines.append("this was begun before, and interrupted: it goes on")
        return "\n".join(lines)


class NewLog:
    """Of one stream, with the parts that it needs. Made by :func:`open_new_log`.

    Every method raises, as a part is away:
        WarehouseUnavailableError, KafkaUnavailableError, UnknownTopicError, psycopg.Error
    """

    def __init__(
        self,
        stream: Stream,
        *,
        kafka: KafkaSettings,
        offsets: TopicOffsets,
        connection: psycopg.Connection[Any],
        warehouse: WarehouseSettings,
        stored: Warehouse,
        client: Client,
        author: Author,
    ) -> None:
        connection.autocommit = True
        self._stream = stream
        self._kafka = kafka
        self._offsets = offsets
        self._connection = connection
        self._database = warehouse.database
        self._stored = stored
        self._client = client
        self._author = author
        self._marks = Marks(connection, stream)

    def ended(self) -> Ended | None:
        """What is stored of a log that has ended; None where all is of the topic that there is."""
        stream, found = self._stream, self._offsets.topic_id()
        audited = self._value("SELECT topic_id FROM audited_topics WHERE stream = %s", stream.name)
        stored = self._stored.stored_topic(self._database, stream.topic)
        unfinished = self._value("SELECT log FROM former_logs WHERE stream = %s AND finished_at IS NULL", stream.name)
        why = [
            f"{what} of the topic that Kafka knew as {known}"
            for what, known in (("the audit is", audited), ("rows and dead letters are", stored))
            if known not in (None, found)
        ]
        ends = self._offsets.end()
        why += self._beyond("the sink has committed", self._offsets.committed(stream.sink_group), ends)
        marks = self._marks.latest(sorted(ends))
        why += self._beyond("the audit has come to", {p: mark.offset for p, mark in marks.items()}, ends)
        if not why and not unfinished:
            return None
        former = self._value("SELECT count(*) FROM former_logs WHERE stream = %s", stream.name)
        return Ended(
            log=unfinished or stream.former_log(former + 1),
            topic_id=next((known for known in (audited, stored) if known), found),
            found=found,
            why=tuple(why),
            interrupted=unfinished is not None,
            rows=self._count(stream.table),
            letters=self._count(dead_letters.TABLE),
            minutes=self._value("SELECT count(DISTINCT minute) FROM audited_offsets WHERE stream = %s", stream.name),
            in_doubt=sum(len(journal.replays_in_doubt()) for journal in self._journals()),
        )

    def _require_no_sink(self, wait_seconds: float) -> None:
        """Wait for the sink to leave its group: a stopped one is kept there for ten seconds, in case it comes back.

        Raises:
            SinkAtWorkError: there is one still.
        """
        deadline = monotonic() + wait_seconds
        while readers := self._offsets.readers(self._stream.sink_group):
            if monotonic() >= deadline:
                who = ", ".join(sorted(set(readers.values())))
                raise _sink_at_work(self._stream, who)
            sleep(_LOOK_SECONDS)

    def begin(self, ended: Ended, say: Say, *, wait_seconds: float = 120.0, sink_seconds: float = 60.0) -> None:
        """Give what is stored of ``ended`` its name, and let sink and audit begin with what Kafka holds now.

        Every step may be done twice, and what lets the sink go on comes last: killed anywhere, the command is run
        again and goes on, and meanwhile audit and sink stand as they did before.

        Args:
            say: takes each step that is done.
            wait_seconds: for an audit that is at work.
            sink_seconds: for a sink that was stopped just now.

        Raises:
            SinkAtWorkError: before anything was done; or it has come back.
            AuditBusyError: before anything was done.
        """
        name, log = self._stream.name, ended.log
        with ExitStack() as held:
            held.enter_context(self._marks.held(wait_seconds))
            for journal in self._journals():
                held.enter_context(journal.held(lambda: say("waiting for somebody who is changing dead letters")))
            self._require_no_sink(sink_seconds)
            # 1. The name is taken.
            self._connection.execute(
                "INSERT INTO former_logs (log, stream, topic_id, begun_by) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (log, name, ended.topic_id, self._author.name),
            )
            if not self._value("SELECT moved_at FROM former_logs WHERE log = %s", log):
                # 2. Rows, each minute at once; 3. letters; 4. all that is about them, at once.
                self._name_rows(log)
                self._name_letters(log)
                self._withdraw_replays()
                self._name_books(log)
                say(f"rows, dead letters and the audit's marks are of {log}")
            # 5. The sink begins where Kafka does. 6. A sink that looks for its topic's id finds it.
            self._reset_commits()
            if self._stored.stored_topic(self._database, self._stream.topic) != ended.found:
                self._stored.note_topic(self._database, self._stream.topic, ended.found)
            # 7. So does the audit.
            with self._connection.transaction():
                self._connection.execute(
                    "INSERT INTO audited_topics (stream, topic_id) VALUES (%s, %s) "
                    "ON CONFLICT (stream) DO UPDATE SET topic_id = excluded.topic_id, known_since = now()",
                    (name, ended.found),
                )
                self._connection.execute("UPDATE former_logs SET finished_at = now() WHERE log = %s", (log,))
            say("the sink begins with the first record that Kafka holds, and so does the audit")

    def _name_rows(self, log: str) -> None:
        """The name is part of the table's key, which no statement changes in place: each partition that has rows of the
        topic is copied with the new name, and takes the place of the old one."""
        table = f"`{self._database}`.`{self._stream.table}`"
        copy = f"`{self._database}`.`{self._stream.table}_begin_anew`"
        self._wait_for_removals()
        self._run(f"DROP TABLE IF EXISTS {copy} SYNC")
        partitions = self._query(
            f"SELECT DISTINCT _partition_id FROM {table} WHERE _topic = {{topic:String}} ORDER BY _partition_id"
        )
        if not partitions:
            return
        self._run(f"CREATE TABLE {copy} AS {table}")
        for (partition,) in partitions:
            of_partition = "WHERE _partition_id = {partition:String}"
            self._run(f"TRUNCATE TABLE {copy} SYNC")
            self._run(
                f"INSERT INTO {copy} "
                "SELECT * REPLACE (if(_topic = {topic:String}, {log:String}, _topic) AS _topic) "
                f"FROM (SELECT * FROM {table} {of_partition})",
                log=log,
                partition=partition,
            )
            distinct = f"SELECT uniqExact(if(_topic = {{topic:String}}, {{log:String}}, _topic), {_PLACE}) FROM"
            self._require_same(f"{distinct} {table} {of_partition}", f"{distinct} {copy}", log=log, partition=partition)
            self._run(f"ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {copy}")
        self._run(f"DROP TABLE {copy} SYNC")

    def _name_letters(self, log: str) -> None:
        """Beside the old ones first, which then go: other streams' sinks write to the same table meanwhile."""
        table = f"`{self._database}`.`{dead_letters.TABLE}`"
        # A subquery: beside REPLACE, a WHERE would mean the new name.
        self._run(
            f"INSERT INTO {table} SELECT * REPLACE ({{log:String}} AS _topic) "
            f"FROM (SELECT * FROM {table} WHERE _topic = {{topic:String}})",
            log=log,
        )
        old = f"SELECT uniqExact({_PLACE}) FROM {table} WHERE _topic = {{topic:String}}"
        both = f"SELECT _partition, _offset FROM {table} WHERE _topic = {{log:String}}"
        self._require_same(old, f"{old} AND (_partition, _offset) IN ({both})", log=log)
        self._run(f"DELETE FROM {table} WHERE _topic = {{topic:String}}")

    def _require_same(self, old: str, new: str, **bound: str) -> None:
        """Before what is old goes: whether what has its place counts as many."""
        ((before,),), ((after,),) = self._query(old, **bound), self._query(new, **bound)
        if before != after:
            raise WarehouseUnavailableError(
                f"the warehouse has copied {after} of {before} records; nothing of them was changed: run this again"
            )

    def _withdraw_replays(self) -> None:
        """Nobody can look for them any more. Their letters are open: an event that is replayed again counts once."""
        for journal in self._journals():
            journal.withdraw_replays([(replay, _IN_DOUBT) for replay in journal.replays_in_doubt()], self._author)

    def _name_books(self, log: str) -> None:
        name, topic = self._stream.name, self._stream.topic
        with self._connection.transaction():
            for table, column, of in (
                ("audited_offsets", "stream", name),
                ("audit_repairs", "stream", name),
                ("dead_letter_changes", "topic", topic),
                ("dead_letter_replays", "topic", topic),
                ("dead_letter_replays", "sent_to", topic),
            ):
                self._connection.execute(f"UPDATE {table} SET {column} = %s WHERE {column} = %s".encode(), (log, of))
            self._connection.execute("UPDATE former_logs SET moved_at = now() WHERE log = %s", (log,))

    def _reset_commits(self) -> None:
        """Kafka takes the commit of somebody who is no member only while the group has none: no sink is passed by."""
        places = [TopicPartition(self._stream.topic, partition, low) for partition, low in self._offsets.low().items()]
        group = Consumer(
            {
                "bootstrap.servers": self._kafka.bootstrap_servers,
                "group.id": self._stream.sink_group,
                "client.id": "etar-begin-anew",
                "log_level": 2,
            }
        )
        try:
            answers = group.commit(offsets=places, asynchronous=False)
            error = next((answer.error for answer in answers if answer.error is not None), None)
        except KafkaException as exception:
            error = exception.args[0]
        finally:
            group.close()
        if error is not None and error.code() in _GROUP_IN_USE:
            raise _sink_at_work(self._stream, error.str())
        if error is not None:
            raise KafkaUnavailableError(f"Kafka did not take the commits of {self._stream.sink_group}: {error}")

    def _journals(self) -> Iterator[Journal]:
        """Of all the stream's dead letters, whichever log they are of."""
        for (log,) in self._connection.execute("SELECT logs_of(%s)", (self._stream.topic,)).fetchall():
            yield Journal(self._connection, log, sent_to=self._stream.topic)

    def _beyond(self, what: str, reached: Mapping[int, int], ends: Mapping[int, int]) -> list[str]:
        past = [partition for partition, offset in reached.items() if offset > ends.get(partition, offset)]
        return [f"{what} {reached[p]} of partition {p}, which ends at {ends[p]}" for p in past[:1]]

    def _wait_for_removals(self) -> None:
        """Of rows that the auditor has asked for: a partition that is put in place would not hear of them."""
        while self._query(
            "SELECT 1 FROM system.mutations WHERE database = {database:String} AND table = {table:String} "
            "AND NOT is_done LIMIT 1",
            database=self._database,
            table=self._stream.table,
        ):
            sleep(_LOOK_SECONDS)

    def _count(self, table: str) -> int:
        ((count,),) = self._query(f"SELECT count() FROM `{self._database}`.`{table}` WHERE _topic = {{topic:String}}")
        return int(count)

    def _value(self, query: str, *bound: str) -> Any:
        row = self._connection.execute(query.encode(), bound).fetchone()
        return row[0] if row else None

    def _query(self, query: str, **bound: str) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            parameters = {"topic": self._stream.topic, **bound}
            rows: Sequence[Sequence[Any]] = self._client.query(query, parameters=parameters).result_rows
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError(f"the warehouse does not answer: {error}") from error
        return rows

    def _run(self, statement: str, **bound: str) -> None:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            parameters = {"topic": self._stream.topic, **bound}
            self._client.command(statement, parameters=parameters, settings={"wait_end_of_query": 1})
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError(f"the warehouse does not do it: {error}") from error


@contextmanager
def open_new_log(stream: Stream, *, command: str) -> Iterator[NewLog]:
    """With everything from the settings; ``command`` is what the letters' history shall say made a change.

    Raises:
        pydantic.ValidationError: a setting is missing.
        psycopg.OperationalError, WarehouseUnavailableError: PostgreSQL or the warehouse is away.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError

    kafka, warehouse = get_settings(KafkaSettings), get_settings(WarehouseSettings)
    try:
        client = warehouse_client(
            warehouse,
            autogenerate_session_id=False,
            send_receive_timeout=_LONGEST_STATEMENT_SECONDS,
            client_name="etar-begin-anew",
        )
    except (ClickHouseError, OSError) as error:
        raise WarehouseUnavailableError.at(warehouse, error) from error
    with (
        closing(client),
        closing(Warehouse(warehouse)) as stored,
        closing(report_store_connection(get_settings(ReportStoreSettings))) as connection,
        TopicOffsets.connect(stream.topic, settings=kafka) as offsets,
    ):
        yield NewLog(
            stream,
            kafka=kafka,
            offsets=offsets,
            connection=connection,
            warehouse=warehouse,
            stored=stored,
            client=client,
            author=Author.of_this_process(command),
        )


def _sink_at_work(stream: Stream, who: str) -> SinkAtWorkError:
    return SinkAtWorkError(
        f"a sink is at work in the group {stream.sink_group} ({who}): stop it first (`docker compose stop sink`, or "
        "Kafka Connect's workers; `etar up` runs its own, which this command stops by itself), and run this again"
    )
