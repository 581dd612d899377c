"""What the page of one event asks for, and how it shows what anybody may have written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dashboard.ui.page_parts import plain
from dashboard.ui.trace_view import asked_for, places_table, steps_table
from etar.trace.answer import Place, PlaceAnswer, RecordTrace, Standing, Step, StepName, StepState


@pytest.mark.parametrize(
    ("values", "record", "since", "asked"),
    [
        (["an id"], "", "3h", {"id": ["an id"], "since": "3h"}),
        (["berlin", ""], "", " ", {"id": ["berlin", ""]}),
        (["an id"], " 3:1042 ", "", {"record": "3:1042"}),
        ([""], "", "3h", {"since": "3h"}),
    ],
)
def test_a_record_is_asked_for_where_one_is_given_else_the_event(
    values: list[str], record: str, since: str, asked: dict[str, object]
) -> None:
    assert asked_for(values, record, since) == asked


def test_what_a_record_says_is_text_and_no_markup() -> None:
    at = datetime(2026, 11, 21, 10, 31, 7, 250_000, tzinfo=UTC)
    steps = (
        Step(name=StepName.KAFKA, state=StepState.DONE, at=at, says="partition 3"),
        Step(name=StepName.DEAD_LETTER, state=StepState.WAITING, says="<script>alert(1)</script>"),
    )
    record = RecordTrace(log="x", partition=3, offset=1, standing=Standing.DEAD_LETTER, says="", steps=steps)

    shown = steps_table(record)

    assert "2026-11-21\u00a010:31:07.250<" in shown
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown + places_table([PlaceAnswer(place=Place.KAFKA, asked=False, says="<script>")])
    assert plain("*a* :red[b] $c$ <d>") == r"\*a\* \:red\[b\] \$c\$ \<d\>"
