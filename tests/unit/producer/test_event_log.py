"""The log of acknowledged records."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from producer.event_log import EventLog
from producer.kinds import Draft, Kind
from tests.unit.producer.drafts import ENCODING
from tests.user_events import UserEvent

USER, EVENT = UUID(int=1), UUID(int=2)
DRAFT = Draft(Kind.LATE, UserEvent(EVENT, USER, USER, "view", "error", 5, None, None, "timeout", "mobile", "DE"), 5)


def test_a_line_has_what_a_report_can_be_computed_from(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log", ENCODING) as log:
        log.add(DRAFT, 3, 17)
    assert json.loads((tmp_path / "log").read_text()) == {
        "event_id": str(EVENT),
        "event_type": "view",
        "status": "error",
        "user_id": str(USER),
        "session_id": str(USER),
        "event_time": 5,
        "product_id": None,
        "amount": None,
        "error_code": "timeout",
        "device": "mobile",
        "country": "DE",
        "partition": 3,
        "offset": 17,
        "kind": "late",
    }


def test_several_workers_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log", ENCODING) as one, EventLog(tmp_path / "log", ENCODING) as two:
        for offset in range(2500):
            one.add(DRAFT, 1, offset)
            two.add(DRAFT, 2, offset)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted((line["partition"], line["offset"]) for line in lines) == [
        (partition, offset) for partition in (1, 2) for offset in range(2500)
    ]


def test_lines_are_on_disk_after_a_flush(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log", ENCODING)
    log.add(DRAFT, 1, 1)
    assert (tmp_path / "log").read_text() == ""
    log.flush()
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_full_disk_is_an_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("only Linux has a disk that is always full")
    log = EventLog(full, ENCODING)
    log.add(DRAFT, 1, 1)
    with pytest.raises(OSError, match="No space left"):
        log.flush()
