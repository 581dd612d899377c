"""Three brokers, each topic on all of them: one after the other is killed at load, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, PartitionMetadata

from etar.kafka_offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.minute import MinuteWindow
from etar.settings import KafkaSettings
from etar.streams import USER_INTERACTIONS
from producer.account import Account
from stack.parts import kafka
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, started_stack

RATE = 300
RECOVERED_WITHIN = 240
# A broker that was slow for a moment leads nothing until the controller's next look at who should lead.
LED_BY_ALL_WITHIN = 360

# Above all that a test waits for together with the start of the stack.
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def etar() -> Iterator[Etar]:
    """A stack of three brokers. The module's own: the session's has one."""
    with started_stack({"ETAR_STACK_BROKERS": "3"}) as command:
        yield command


class Cluster:
    """What Kafka's nodes say of themselves."""

    def __init__(self, etar: Etar) -> None:
        self.stack = etar.stack
        self.nodes = kafka.nodes(self.stack)
        self.settings = self.stack.settings.of(KafkaSettings)
        self._admin = AdminClient({"bootstrap.servers": self.settings.bootstrap_servers, "log_level": 2})

    def partitions(self, topic: str = USER_INTERACTIONS.topic) -> list[PartitionMetadata]:
        found = list(self._admin.list_topics(topic, timeout=30).topics[topic].partitions.values())
        if not found:
            raise UnknownTopicError(f"the broker that was asked knows no partition of {topic}")
        return found

    def controller(self) -> kafka.Node:
        """The node that leads the controllers, as the youngest of the nodes' own notes has it."""
        files = [node.data(self.stack) / "__cluster_metadata-0" / "quorum-state" for node in self.nodes]
        found: list[kafka.Node] = []

        def there() -> bool:
            youngest = max((json.loads(file.read_text()) for file in files), key=lambda note: note["leaderEpoch"])
            # -1 during an election.
            found[:] = [node for node in self.nodes if node.number == youngest["leaderId"]]
            return bool(found)

        wait_until(there, timeout=RECOVERED_WITHIN, what="a leader of the controllers", interval=1)
        return found[0]

    def leader_that_controls_nothing(self) -> kafka.Node:
        found: list[kafka.Node] = []

        def there() -> bool:
            leaders = {partition.leader for partition in self.partitions()} - {self.controller().number}
            found[:] = [node for node in self.nodes if node.number in leaders]
            return bool(found)

        wait_until(there, timeout=LED_BY_ALL_WITHIN, what="a leader beside the controller", interval=1)
        return found[0]

    def ends(self) -> dict[int, int]:
        with TopicOffsets.connect(USER_INTERACTIONS.topic, settings=self.settings, timeout=20) as offsets:
            return offsets.end()

    def pid(self, node: kafka.Node) -> int:
        return Supervisor(self.stack).states()[node.name].pid

    def kill(self, node: kafka.Node) -> None:
        """Kill a broker, and wait until it is back: every partition takes records again, and every copy has them."""
        before, killed = self.ends(), self.pid(node)
        psutil.Process(killed).kill()
        wait_until(
            lambda: self.pid(node) not in (0, killed) and self.is_beyond(before) and self._has_all_copies(),
            timeout=RECOVERED_WITHIN,
            what=f"{node.name} to come back and every partition to go on with all its copies",
            interval=1,
        )

    def is_beyond(self, before: dict[int, int]) -> bool:
        """Whether every partition has records after these ends."""
        try:
            ends = self.ends()
        except (KafkaUnavailableError, UnknownTopicError):
            return False  # asked of a broker that is away, slow, or just back
        return all(ends[partition] > end for partition, end in before.items())

    def _has_all_copies(self) -> bool:
        try:
            partitions = self.partitions()
        except (KafkaException, UnknownTopicError):
            return False
        return all(set(partition.isrs) == {node.number for node in self.nodes} for partition in partitions)


def test_every_record_and_every_commit_is_kept_three_times(etar: Etar) -> None:
    cluster = Cluster(etar)
    everyone = {1, 2, 3}
    for topic in (USER_INTERACTIONS.topic, "__consumer_offsets"):
        assert all(set(partition.replicas) == everyone for partition in cluster.partitions(topic)), topic


def test_brokers_killed_at_load_lose_nothing(etar: Etar, tmp_path: Path) -> None:
    cluster = Cluster(etar)
    account_file = tmp_path / "account.json"
    traffic = (
        "produce", "--rate", str(RATE), "--seed", "20261121",
        "--duplicates", "0.02", "--malformed", "0.01", "--account", str(account_file),
    )  # fmt: skip
    with etar.started(*traffic) as producer:
        enough = {partition.id: RATE for partition in cluster.partitions()}
        wait_until(lambda: cluster.is_beyond(enough), timeout=90, what="traffic in every partition")
        cluster.kill(cluster.leader_that_controls_nothing())
        cluster.kill(cluster.controller())
        producer.terminate()
        assert producer.wait(60) == 0

    account = Account.read(account_file)
    assert account.ok
    assert (account.acknowledged, account.in_doubt) == (account.generated, 0)
    assert sum(cluster.ends().values()) == account.acknowledged

    # Bad records count when they arrive: up to the minute in which the last one did.
    first, last = account.first_minute, MinuteWindow.containing(datetime.now(UTC))
    range_ = ("--from", str(first), "--to", str(last.next))
    wait_until(
        lambda: etar.run("report", "--minute", str(last), check=False).returncode == 0,
        timeout=RECOVERED_WITHIN,
        what=f"the report of {last}",
        interval=2,
    )
    verified = etar.exact_account(*range_, "--account", str(account_file))
    assert (verified["ok"], verified["difference"]) == (True, 0)
    rows = sum(minute["parquet_rows"] or 0 for minute in verified["minutes"])
    bad = sum(minute["dead_letters"] for minute in verified["minutes"])
    assert bad == account.malformed > 0
    assert rows + bad == account.acknowledged
