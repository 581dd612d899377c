"""In which order parts and steps come up, and what a failure costs."""

from __future__ import annotations

from threading import Lock

import pytest

from stack.lifecycle import StartError, in_order
from stack.parts import Part, Step


class Start:
    """Nodes that come up, or do not."""

    def __init__(self, *broken: str) -> None:
        self.broken, self.came_up, self._lock = broken, list[str](), Lock()

    def __call__(self, node: Part | Step) -> None:
        if node.name in self.broken:
            raise StartError(f"{node.name} failed")
        with self._lock:
            self.came_up.append(node.name)


def node(name: str, *needs: str, stream: str | None = None) -> Step:
    return Step(name=name, action=lambda _: None, needs=needs, stream=stream)


NODES = (
    node("dashboard", "sink-a", "sink-b"),
    node("sink-a", "topic-a", stream="a"),
    node("sink-b", "topic-b", stream="b"),
    node("topic-a", "kafka", stream="a"),
    node("topic-b", "kafka", stream="b"),
    node("kafka"),
)


def test_each_node_comes_up_after_what_it_needs() -> None:
    start = Start()

    assert in_order(NODES, start) == {}

    assert sorted(start.came_up) == sorted(each.name for each in NODES)
    for each in NODES:
        assert all(start.came_up.index(need) < start.came_up.index(each.name) for need in each.needs)


def test_a_need_that_the_stack_does_not_have_is_not_waited_for() -> None:
    start = Start()
    in_order((node("sink", "kafka-2", "kafka"), node("kafka")), start)
    assert start.came_up == ["kafka", "sink"]


def test_what_does_not_come_up_of_one_stream_costs_that_stream_only() -> None:
    start = Start("topic-a")

    left_out = in_order(NODES, start)

    assert {stream: str(error) for stream, error in left_out.items()} == {"a": "topic-a failed"}
    assert sorted(start.came_up) == ["dashboard", "kafka", "sink-b", "topic-b"]


@pytest.mark.parametrize("broken", [("kafka",), ("dashboard",), ("topic-a", "sink-b")])
def test_what_all_streams_need_or_something_of_each_ends_the_start(broken: tuple[str, ...]) -> None:
    with pytest.raises(StartError, match="failed"):
        in_order(NODES, Start(*broken))


def test_the_only_streams_failure_ends_the_start() -> None:
    with pytest.raises(StartError, match="topic-a failed"):
        in_order(
            (node("kafka"), node("topic-a", "kafka", stream="a"), node("sink-a", "topic-a", stream="a")),
            Start("topic-a"),
        )
