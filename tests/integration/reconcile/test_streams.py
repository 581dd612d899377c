"""Two streams that share the runs of reconciling: each has its part of a batch, and what fails of one is its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from etar.errors import PermanentError
from etar.extracts import Extract
from etar.kafka.offsets import TopicOffsets
from etar.ledger import State
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.tasks import again as steps
from etar.pipeline.tasks.again import BatchFailedError, BatchUnfinishedError
from etar.settings import get_settings
from etar.streams import StreamFaultError, UnknownStreamError
from tests.integration.reconcile.conftest import new_stream
from tests.integration.reconcile.test_steps import RUN
from tests.integration.reconcile.world import World, report_all
from tests.integration.topics import delete_topics, make_topic
from tests.stream_folders import MADE


@pytest.fixture
def other(world: World, first: MinuteWindow, switch_on: Callable[..., None]) -> Iterator[World]:
    """A second stream beside the world's; both are switched on, and all four minutes of each are missing."""
    with (
        new_stream(world.stores.kafka, world.client) as stream,
        TopicOffsets.connect(stream.topic, settings=world.stores.kafka) as offsets,
    ):
        switch_on(world.stream, stream)
        yield World(stream, world.client, world.connection, world.api, world.stores, offsets, now=world.now)


def find(**named: object) -> dict[str, Any]:
    return steps.find(RUN, {"minutes": [], **named})


def of(found: dict[str, Any], world: World) -> list[str]:
    return [each["minute"] for each in found["minutes"] if each["stream"] == world.stream.name]


def analyse(extracted: dict[str, Any], *worlds: World) -> None:
    for world in worlds:
        own = [each for each in extracted["extracts"] if each["stream"] == world.stream.name]
        world.analyse([Extract.model_validate(each) for each in own])


def run(*worlds: World) -> list[dict[str, Any]]:
    """One whole run."""
    extracted = steps.extract(json.loads(json.dumps(find())), RUN)
    analyse(extracted, *worlds)
    return report_all(json.loads(json.dumps(extracted)), RUN)


def test_one_run_reports_the_minutes_of_both(world: World, other: World, first: MinuteWindow) -> None:
    """The same minute of each, with other rows; one Spark for all, told of each minute whose it is."""
    world.arrive([world.row(first), world.row(first)])
    other.arrive([other.row(first), other.row(first.next), other.row(first.next)])
    found = find()
    assert of(found, world) == of(found, other)
    extracted = steps.extract(found, RUN)
    arguments = extracted["arguments"]
    asked = list(zip(arguments[1::8], arguments[3::8], strict=True))
    assert arguments[::2] == ["--stream", "--minute", "--source", "--result"] * 3
    expected = [(world, first), (other, first), (other, first.next)]
    assert sorted(asked) == sorted((each.stream.name, str(window)) for each, window in expected)
    analyse(extracted, world, other)
    reported = report_all(extracted, RUN)
    assert Counter(each["stream"] for each in reported) == Counter(each["stream"] for each in found["minutes"])
    assert [world.served(first)["total_events"], world.served(first.next)["total_events"]] == [2, 0]
    assert [other.served(first)["total_events"], other.served(first.next)["total_events"]] == [1, 2]
    assert find() == {}


def test_a_backlog_of_one_leaves_the_other_its_part_of_every_batch(
    world: World, other: World, first: MinuteWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_RECONCILE_BATCH_MINUTES", "6")
    get_settings.cache_clear()
    hours_ago = [MinuteWindow(first.start - back * MINUTE) for back in range(300, 280, -1)]
    world.arrive([world.row(window) for window in hours_ago])
    other.arrive([other.row(window) for window in hours_ago[:3]])
    found = find()
    for each in (world, other):
        assert len(of(found, each)) == 3
        assert of(found, each)[:2] == [str(window) for window in hours_ago[:2]], "two of the oldest, one of the newest"
    for _ in range(2):
        run(world, other)
    assert of(find(), other) == []
    runs = 2
    while find():
        run(world, other)
        runs += 1
    assert runs == 5, "what the other leaves is the backlog's"
    assert {world.served(window)["total_events"] for window in hours_ago} == {1}


def test_a_stream_whose_table_is_away_keeps_no_other_waiting(world: World, other: World, first: MinuteWindow) -> None:
    other.client.command(f"DROP TABLE {other.stream.table} SYNC")
    world.arrive([world.row(first)])
    found = find()
    assert (of(found, world)[0], of(found, other)) == (str(first), [])
    assert list(found["failures"]) == [f"stream {other.stream.name}"]
    extracted = steps.extract(found, RUN)
    analyse(extracted, world)
    with pytest.raises(BatchFailedError, match=rf"stream {other.stream.name}: find: .*{other.stream.table}"):
        report_all(extracted, RUN)
    assert world.served(first)["total_events"] == 1
    assert world.entries(first)[first].state is State.REPORTED

    with pytest.raises(BatchFailedError, match=rf"stream {other.stream.name}: find: ") as still:
        find()
    assert isinstance(still.value, PermanentError), "the next run looks again; a try would cost a process"


def test_when_nothing_can_be_looked_at_another_try_is_worth_it(world: World, other: World) -> None:
    for each in (world, other):
        each.client.command(f"DROP TABLE {each.stream.table} SYNC")
    with pytest.raises(BatchUnfinishedError, match=f"stream {world.stream.name}: find: .*stream {other.stream.name}"):
        find()


def test_a_stream_whose_topic_is_away_keeps_no_other_waiting(world: World, other: World, first: MinuteWindow) -> None:
    world.arrive([world.row(first)])
    other.arrive([other.row(first)])
    found = find()
    delete_topics(world.stores.kafka, [other.stream.topic])
    extracted = steps.extract(found, RUN)
    assert {each["stream"] for each in extracted["extracts"]} == {world.stream.name}
    assert list(extracted["failures"]) == [f"stream {other.stream.name}"]
    analyse(extracted, world)
    with pytest.raises(BatchFailedError, match=f"stream {other.stream.name}: extract: UnknownTopicError"):
        report_all(extracted, RUN)
    assert world.served(first)["total_events"] == 1
    assert first not in other.entries(first), "nothing is said of a minute that was not begun"
    make_topic(world.stores.kafka, other.stream.topic, 2)
    analyse(again := steps.extract(find(), RUN), other)
    report_all(again, RUN)
    assert other.served(first)["total_events"] == 1


@pytest.mark.parametrize("step", ["extract", "report"])
def test_a_folder_that_becomes_faulty_meanwhile_keeps_no_other_waiting(
    world: World, other: World, first: MinuteWindow, step: str
) -> None:
    found = find()
    extracted = steps.extract(found, RUN) if step == "report" else None
    (MADE / other.stream.name / "stream.toml").write_text("[stream\n")
    extracted = extracted or steps.extract(found, RUN)
    with pytest.raises(BatchFailedError, match=f"stream {other.stream.name}: {step}: StreamFaultError: .*is not TOML"):
        report_all(extracted, RUN)
    assert world.served(first)["revision"] == 1
    assert find() == {}, "what has a fault is not looked at"


def test_a_stream_that_is_switched_off_is_left_alone_until_it_is_named(
    world: World, other: World, first: MinuteWindow, switch_on: Callable[..., None]
) -> None:
    switch_on(world.stream)
    assert of(find(), other) == []
    found = find(minutes=[str(first)], stream=other.stream.name)
    assert found["minutes"] == [
        {"stream": other.stream.name, "minute": str(first), "cause": "named", "detail": "asked for"}
    ]
    report_all(steps.extract(found, RUN), RUN)
    assert other.served(first)["revision"] == 1
    assert first not in world.entries(first)


def test_a_stream_that_cannot_be_meant_is_refused(world: World, first: MinuteWindow) -> None:
    with pytest.raises(UnknownStreamError, match=f"there is no stream 'paymentz' .*there are: .*{world.stream.name}"):
        find(minutes=[str(first)], stream="paymentz")
    (MADE / world.stream.name / "stream.toml").write_text("[stream\n")
    with pytest.raises(StreamFaultError, match="is not TOML"):
        find(minutes=[str(first)], stream=world.stream.name)


@pytest.mark.usefixtures("first")
def test_without_a_stream_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_STREAMS", "one_that_has_no_folder")
    get_settings.cache_clear()
    assert find() == {}
