"""What ``etar trace`` prints."""

from __future__ import annotations

from cli.trace import describe
from etar.trace.answer import Place, PlaceAnswer, Trace
from tests.unit.trace.test_steps import LATE, RULES, letter, reported, the_object, traced


def test_each_step_is_a_line_with_its_time_its_state_and_what_is_waited_for() -> None:
    waiting = traced(row=LATE, minute=reported(object=the_object(holds=False)))
    found = Trace(
        stream="clicks",
        asked_at=RULES.now,
        identity={"shop": "berlin", "receipt": "7\x1b"},
        found=True,
        complete=True,
        says="two records",
        records=(waiting, traced(**letter())),
        places=(PlaceAnswer(place=Place.KAFKA, asked=False, says="not asked: it is away"),),
    )

    lines = list(describe(found))

    assert lines[:2] == ["clicks: shop berlin, receipt 7\N{REPLACEMENT CHARACTER}", "two records"]
    assert "user_interactions 0:17: waiting" in lines
    assert "  2026-11-21T10:32:40.000Z  kafka        partition 0, offset 17 of user_interactions" in lines
    assert (
        "                            report       waiting: reported, revision 1, before this row came: the next "
        "reconcile makes revision 2"
    ) in lines
    assert "                            dead letter  out_of_range: amount: too much\N{REPLACEMENT CHARACTER}" in lines
    assert lines[-1] == "kafka           not asked: it is away"
