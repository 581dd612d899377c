"""In which order the nodes of a start come, and how a start ends before its time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from threading import Event, Lock

import pytest

from stack.lifecycle import StartError, in_order
from stack.parts import Part, Step

Action = Callable[[Part | Step, Event], None]


def part(name: str, *needs: str, stream: str | None = None) -> Part:
    return Part(name, command=lambda _: [sys.executable], ready=lambda _: True, needs=needs, stream=stream)


def step(name: str, *needs: str, stream: str | None = None) -> Step:
    return Step(name, action=lambda _: None, needs=needs, stream=stream)


class Doing:
    """Notes what was begun and what ended. ``actions``: what a node does, by its name; the others do nothing."""

    def __init__(self, **actions: Callable[[Event], None]) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._actions = actions
        self._lock = Lock()

    def __call__(self, node: Part | Step, given_up: Event) -> None:
        with self._lock:
            self.begun.append(node.name)
        self._actions.get(node.name, lambda _: None)(given_up)
        with self._lock:
            self.ended.append(node.name)


def test_each_node_comes_when_all_that_it_needs_and_the_stack_has_is_done() -> None:
    doing = Doing()
    in_order([part("top", "left", "right"), part("left", "base"), step("right", "base", "absent"), part("base")], doing)
    assert doing.ended[0] == "base"
    assert doing.ended[-1] == "top"
    assert sorted(doing.ended) == ["base", "left", "right", "top"]


def fail(_: Event) -> None:
    raise StartError("it ends each time")


def interrupt(given_up: Event) -> None:
    os.kill(os.getpid(), signal.SIGINT)  # to the process, as from a terminal: the main thread gets it
    given_up.wait(30)


@pytest.mark.parametrize(("end", "raised"), [(fail, StartError), (interrupt, KeyboardInterrupt)])
def test_a_start_that_ends_before_its_time_ends_all_waiting_for_parts_and_begins_nothing_more(
    end: Callable[[Event], None], raised: type[BaseException]
) -> None:
    waiting = Event()

    def wait(given_up: Event) -> None:
        waiting.set()
        assert given_up.wait(30)

    def end_when_another_waits(given_up: Event) -> None:
        assert waiting.wait(30)
        end(given_up)

    doing = Doing(slow=wait, ends=end_when_another_waits)
    with pytest.raises(raised):
        in_order([part("slow"), part("ends"), part("later", "slow"), part("after", "ends")], doing)
    assert sorted(doing.begun) == ["ends", "slow"]
    assert "slow" in doing.ended, "before it is raised: a part must not be started behind its being stopped"


def test_a_step_is_not_waited_for_when_a_start_ends_before_its_time() -> None:
    let_go = Event()
    waiting = Event()

    def wait(_: Event) -> None:
        waiting.set()
        let_go.wait(30)

    def end(given_up: Event) -> None:
        assert waiting.wait(30)
        fail(given_up)

    doing = Doing(slow=wait, ends=end)
    with pytest.raises(StartError):
        in_order([step("slow"), part("ends")], doing)
    assert doing.ended == []
    let_go.set()


OF_TWO_STREAMS = (
    part("dashboard", "sink-a", "sink-b"),
    part("sink-a", "topic-a", stream="a"),
    part("sink-b", "topic-b", stream="b"),
    step("topic-a", "kafka", stream="a"),
    step("topic-b", "kafka", stream="b"),
    part("kafka"),
)


def test_what_does_not_come_up_of_one_stream_costs_that_stream_only() -> None:
    doing = Doing(**{"topic-a": fail})

    left_out = in_order(OF_TWO_STREAMS, doing)

    assert {stream: str(error) for stream, error in left_out.items()} == {"a": "it ends each time"}
    assert sorted(doing.ended) == ["dashboard", "kafka", "sink-b", "topic-b"]


@pytest.mark.parametrize("broken", [("kafka",), ("dashboard",), ("topic-a", "sink-b")])
def test_what_all_streams_need_or_something_of_each_ends_the_start(broken: tuple[str, ...]) -> None:
    with pytest.raises(StartError, match="it ends each time"):
        in_order(OF_TWO_STREAMS, Doing(**dict.fromkeys(broken, fail)))


def test_what_does_not_come_up_of_the_only_stream_ends_the_start() -> None:
    only: list[Part | Step] = [
        part("kafka"),
        step("topic-a", "kafka", stream="a"),
        part("sink-a", "topic-a", stream="a"),
    ]
    with pytest.raises(StartError, match="it ends each time"):
        in_order(only, Doing(**{"topic-a": fail}))
