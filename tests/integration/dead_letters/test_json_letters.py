"""Letters of JSON streams: shown as the JSON they are, fixed by a patch, replayed; decimals digit by digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from etar.dead_letter_office.document import Form
from etar.dead_letter_office.office import Outcome, UnknownSchemaError, open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId, Selection, State
from etar.settings import KafkaSettings, RegistrySettings, ReportStoreSettings, WarehouseSettings, get_settings
from etar.streams import RecordFormat
from tests.integration.connect.sales import SCHEMA, Sales, open_sales
from tests.integration.connect.test_formats import register_json
from tests.integration.topics import delete_topics

EXACT = Decimal("1234567890123456.78")
"""A float is another number."""


@pytest.fixture(params=[RecordFormat.JSON, RecordFormat.JSON_REGISTERED], ids=str)
def sales(
    request: pytest.FixtureRequest,
    kafka: KafkaSettings,
    registry: RegistrySettings,
    warehouse: WarehouseSettings,
    report_store: ReportStoreSettings,
) -> Iterator[Sales]:
    with (
        pytest.MonkeyPatch.context() as environment,
        open_sales(kafka, registry, warehouse, record=request.param) as sales,
    ):
        environment.setenv("ETAR_PIPELINE_START_DATE", "2026-01-01T00:00Z")
        environment.setenv("ETAR_DEAD_LETTERS_SEND_SECONDS", "4")
        get_settings.cache_clear()
        yield sales
        delete_topics(kafka, [sales.lane.topic])
    get_settings.cache_clear()


def header_of(sales: Sales) -> bytes:
    if sales.stream.record is RecordFormat.JSON:
        return b""
    return b"\0" + register_json(sales.registry, f"{sales.stream.topic}-value", SCHEMA).to_bytes(4, "big")


def test_a_letter_is_shown_fixed_and_replayed_as_json(sales: Sales, tmp_path: Path) -> None:
    header = header_of(sales)
    whole = sales.value(1, amount=EXACT, note=[Decimal("0.10")])
    bad = {
        LetterId(0, 0): (header + sales.value(0, amount="12.30", paid=EXACT), Reason.MISSING_OR_WRONG_FIELD),
        LetterId(0, 1): (header + whole[:-1], Reason.TRUNCATED),
        LetterId(0, 2): (header + sales.value(2, amount=EXACT) + b"}", Reason.TRAILING_BYTES),
        LetterId(0, 3): (header + sales.value(3).replace(b"{", b'{"sale": "x", ', 1), Reason.NOT_JSON),
    }
    sales.lane.produce([value for value, _ in bad.values()], partition=0)
    sales.consume()

    with open_office(sales.stream, command="a test", say=lambda _: None) as office:
        listed = {summary.id: summary.reason for summary, _ in office.find(Selection())}
        shown = {letter: office.show(letter).document for letter in bad}
        assert office.export(Selection(), tmp_path / "letters.jsonl") == len(bad)
        patches = {
            LetterId(0, 0): [{"op": "replace", "path": "/amount", "value": "the amount"}],
            LetterId(0, 1): [{"op": "add", "path": "", "value": json.loads(sales.value(1, amount="the amount"))}],
            LetterId(0, 2): [],
            LetterId(0, 3): [{"op": "replace", "path": "/sale", "value": "s-3"}],
        }
        for letter, patch in patches.items():
            repair = patch_repair(json.dumps(patch).replace('"the amount"', str(EXACT)))
            fixed = list(office.fix(Selection(ids=(letter,)), repair, schema_id=None, apply=True))
            assert fixed == [Outcome(letter, True, "fixed")]
        replayed = list(office.replay(Selection(), apply=True))
        states = {state for _, state in office.find(Selection())}
    sales.consume()

    assert listed == {letter: reason for letter, (_, reason) in bad.items()}
    assert {letter: document.form for letter, document in shown.items()} == {
        LetterId(0, 0): Form.JSON,
        LetterId(0, 1): Form.TEXT,
        LetterId(0, 2): Form.JSON,
        LetterId(0, 3): Form.JSON,
    }
    assert shown[LetterId(0, 0)].fields["paid"] == shown[LetterId(0, 2)].fields["amount"] == EXACT
    assert f'"paid": {EXACT}' in (tmp_path / "letters.jsonl").read_text()
    assert all(outcome.done for outcome in replayed)
    assert states == {State.REPLAYED}
    assert dict(sales.lane.rows("sale, amount")) == {
        "s-0": EXACT,
        "s-1": EXACT,
        "s-2": EXACT,
        "s-3": Decimal("0.03"),
    }
    sales.lane.assert_every_offset_is_in_one_place()


def test_a_fix_that_does_not_keep_the_schema_or_the_column_is_refused(sales: Sales) -> None:
    header = header_of(sales)
    sales.lane.produce([header + sales.value(1, amount=Decimal("0.001"))], partition=0)
    sales.consume()
    letter = LetterId(0, 0)

    def refusal(amount: str) -> str:
        repair = patch_repair(f'[{{"op": "replace", "path": "/amount", "value": {amount}}}]')
        with open_office(sales.stream, command="a test", say=lambda _: None) as office:
            (outcome,) = office.fix(Selection(ids=(letter,)), repair, schema_id=None, apply=True)
        assert not outcome.done
        return outcome.what

    assert refusal("0.005").startswith("amount: multipleOf of the JSON Schema: 0.005 is not a multiple of 0.01")
    assert refusal("1e20").startswith(
        "would be a dead letter again: out_of_range: amount: 1E+20 has more than 16 digits before the point"
    )
    assert sales.lane.rows("count()") == [(0,)]


def test_plain_json_has_no_schema_id_to_be_fixed_under(sales: Sales) -> None:
    repair = patch_repair("[]")
    wanted = "leave --schema-id out" if sales.stream.record is RecordFormat.JSON else "the registry has no such schema"
    with (
        open_office(sales.stream, command="a test", say=lambda _: None) as office,
        pytest.raises(UnknownSchemaError, match=wanted),
    ):
        list(office.fix(Selection(), repair, schema_id=2_000_000_000, apply=False))
