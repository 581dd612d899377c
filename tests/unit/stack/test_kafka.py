"""Kafka's nodes: what one and three are told, and that data made for one is not taken for three."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack import lifecycle
from stack.configuration import LINK_OFFSET, SettingsError, make_settings, prepare_settings, read_settings
from stack.layout import Layout
from stack.parts import Stack, kafka, part_named, parts_of
from stack.parts.base import write_if_changed

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def stack_of(brokers: str, folder: Path, **environment: str) -> Stack:
    return Stack(Layout.at(folder), make_settings({"ETAR_STACK_BROKERS": brokers, **environment}, {}, NOW))


def properties(stack: Stack, number: int) -> dict[str, str]:
    text = kafka.properties(stack, kafka.Node(number))
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_node_keeps_one_copy(tmp_path: Path) -> None:
    stack = stack_of("1", tmp_path)
    assert [part.name for part in parts_of(stack) if part.name.startswith("kafka")] == ["kafka"]
    told = properties(stack, 1)
    assert told["controller.quorum.voters"] == "1@127.0.0.1:9093"
    assert {told[name] for name in told if name.endswith(("replication.factor", ".isr", "insync.replicas"))} == {"1"}


def test_three_nodes_keep_three_copies_and_ask_for_two(tmp_path: Path) -> None:
    stack = stack_of("3", tmp_path)
    names = [part.name for part in parts_of(stack) if part.name.startswith("kafka")]
    assert names == ["kafka", "kafka-2", "kafka-3"]
    assert stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9092,127.0.0.1:9094,127.0.0.1:9096"
    for number, (port, controller) in enumerate([(9092, 9093), (9094, 9095), (9096, 9097)], start=1):
        told = properties(stack, number)
        assert told["node.id"] == str(number)
        assert told["listeners"] == f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"
        assert told["controller.quorum.voters"] == "1@127.0.0.1:9093,2@127.0.0.1:9095,3@127.0.0.1:9097"
        assert {told[name] for name in told if name.endswith("replication.factor")} == {"3"}
        assert {told[name] for name in told if name.endswith(("min.isr", "min.insync.replicas"))} == {"2"}
        assert told["unclean.leader.election.enable"] == "false"
    assert len({properties(stack, number)["log.dirs"] for number in (1, 2, 3)}) == 3


def test_clients_reach_every_node_through_its_link(tmp_path: Path) -> None:
    stack = stack_of("3", tmp_path, **{LINK_OFFSET: "100"})
    assert stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9192,127.0.0.1:9194,127.0.0.1:9196"
    assert properties(stack, 3)["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9196"


@pytest.mark.parametrize(("made", "wanted", "says"), [("1", "3", "as 1 broker and"), ("3", "1", "as 3 brokers and")])
def test_data_made_as_another_number_of_nodes_is_refused_and_the_settings_stay(
    tmp_path: Path, made: str, wanted: str, says: str
) -> None:
    layout = Layout.at(tmp_path)
    layout.create()
    before = Stack(layout, prepare_settings(layout.settings_file, {"ETAR_STACK_BROKERS": made}, NOW))
    node = kafka.Node(1)
    write_if_changed(node.config(before), kafka.properties(before, node))

    # Written, but not formatted yet: a first start that was broken off binds nobody.
    part_named("kafka", before).require(stack_of(wanted, tmp_path))

    write_if_changed(node.data(before) / "meta.properties", "")
    part_named("kafka", before).require(before)
    with pytest.raises(SettingsError, match=says) as raised:
        lifecycle.start(layout, {"ETAR_STACK_BROKERS": wanted}, print)
    assert f"make up BROKERS={made}" in str(raised.value)
    assert read_settings(layout.settings_file) == before.settings
