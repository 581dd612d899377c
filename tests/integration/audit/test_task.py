"""The task of ``etar_audit``, in which streams share a process: what it does for one it does for that one alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from etar.audit.auditor import LostRecordsError
from etar.clients import report_store_connection
from etar.pipeline.tasks import connections
from etar.pipeline.tasks.audit import AuditsFailedError, audit
from etar.records.intake import Decoded
from etar.settings import get_settings
from etar.streams import StreamFaultError
from tests.integration.audit.conftest import World
from tests.stream_folders import FOLDERS, MADE

pytestmark = pytest.mark.usefixtures("airflow_home")


@pytest.fixture
def worlds(new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """Two streams, of both of which a record is lost: one the first, one the second of it."""
    made = new_world(), new_world()
    for lost, world in enumerate(made):
        world.send(world.good(3), at=world.minute.previous.start)
        world.sink()
        world.audit(minutes=-0.5)
        world.send(world.good(9, first=3))
        world.sink(
            lambda decoded, lost=lost: Decoded([row for row in decoded.rows if row.record.partition != lost])  # type: ignore[misc]
        )
        world.forget({lost: 4})
    store = made[0].store
    monkeypatch.setattr(connections, "ledger_connection", lambda: closing(report_store_connection(store)))
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", FOLDERS)
    get_settings.cache_clear()
    return made


def test_a_loss_fails_the_task_until_it_is_accepted_for_its_stream(worlds: tuple[World, World]) -> None:
    first, second = (world.stream.name for world in worlds)
    with pytest.raises(AuditsFailedError) as both:
        audit([first, second], {"stream": "all", "accept_lost": False})
    for name, partition in ((first, 0), (second, 1)):
        told = rf'{name}: LostRecordsError: 3 records .*\(partition {partition}: 1-3\).*"stream": "{name}"}}'
        assert re.search(told, str(both.value))

    only_the_second = {"stream": second, "accept_lost": True}
    with pytest.raises(AirflowSkipException, match=f"this run audits {second}, not {first}"):
        audit([first], only_the_second)
    (accepted,) = audit([first, second], only_the_second)
    assert (accepted["stream"], accepted["repairs"]) == (second, {})
    with pytest.raises(LostRecordsError, match=rf'"stream": "{first}"'):
        audit([first, second], {})

    every = audit([first, second], {"stream": "all", "accept_lost": True})
    assert {each["stream"] for each in every} == {first, second}


def test_a_faulty_folder_fails_the_task_and_costs_its_own_stream_only(worlds: tuple[World, World]) -> None:
    broken, sound = worlds
    (MADE / broken.stream.name / "stream.toml").write_text("[stream\n")
    with pytest.raises(StreamFaultError, match="is not TOML"):
        audit([broken.stream.name], {"accept_lost": True})
    with pytest.raises(AuditsFailedError, match="is not TOML"):
        audit([broken.stream.name, sound.stream.name], {})
    assert str(sound.minute) in {minute for _, minute, *_ in sound.closed()}, "all else was done"
