"""A record's fields as a list, with the failing one marked: nested, in lists, absent, and in records without end."""

from __future__ import annotations

from typing import Any

import pytest

from etar.dead_letter_office.document import read_document
from etar.dead_letter_office.outline import MOST_CHARACTERS, outline, place_of
from etar.dead_letters import Reason
from etar.dead_letters.fields import failing_field

BASKET: dict[str, Any] = {
    "id": "b-1",
    "device": {"os": "linux", "a.b": {"c": 1}},
    "items": [{"sku": "x", "price": 1}, {"sku": "y", "price": "free"}],
    "tags": [],
}


def marked(fields: dict[str, Any], path: str) -> list[tuple[str, str | None]]:
    return [(leaf.path, leaf.value) for leaf in outline(fields, path).leaves if leaf.failing]


@pytest.mark.parametrize(
    ("path", "leaves", "pointer"),
    [
        ("id", [("id", '"b-1"')], "/id"),
        ("device.os", [("device.os", '"linux"')], "/device/os"),
        ("device.a.b.c", [('device."a.b".c', "1")], "/device/a.b/c"),
        ("items.1.price", [("items.1.price", '"free"')], "/items/1/price"),
        ("items.1", [("items.1.sku", '"y"'), ("items.1.price", '"free"')], "/items/1"),
        ("tags", [("tags", "[]")], "/tags"),
    ],
)
def test_the_failing_value_is_marked_where_it_stands(path: str, leaves: list[tuple[str, str]], pointer: str) -> None:
    assert marked(BASKET, path) == leaves
    assert outline(BASKET, path).pointer == pointer
    assert outline(BASKET, path).there


@pytest.mark.parametrize(
    ("path", "shown", "pointer"),
    [
        ("amount", "amount", "/amount"),
        ("device.name", "device.name", "/device/name"),
        ("items.2.price", 'items."2.price"', "/items/2.price"),
        ("items.9999999999999999999", "items.9999999999999999999", "/items/9999999999999999999"),
        ("id.x", "id.x", "/id/x"),
    ],
)
def test_a_failing_field_that_is_not_there_is_listed_as_absent(path: str, shown: str, pointer: str) -> None:
    assert marked(BASKET, path) == [(shown, None)]
    assert (outline(BASKET, path).pointer, outline(BASKET, path).there) == (pointer, False)


def test_a_whole_name_with_points_goes_before_a_nested_field() -> None:
    assert place_of({"a": {"b": 1}, "a.b": 2}, "a.b") == ("a.b",)


def test_a_pointer_escapes_what_a_key_may_hold() -> None:
    assert outline({"a/b~": 1}, "a/b~").pointer == "/a~1b~0"


def test_without_a_field_nothing_is_marked() -> None:
    found = outline(BASKET, None)
    assert [leaf.path for leaf in found.leaves] == [
        "id",
        "device.os",
        'device."a.b".c',
        "items.0.sku",
        "items.0.price",
        "items.1.sku",
        "items.1.price",
        "tags",
    ]
    assert not any(leaf.failing for leaf in found.leaves)
    assert found.pointer is None


def test_a_long_record_is_cut_and_the_failing_value_kept() -> None:
    fields = {f"f{number}": number for number in range(10)}
    found = outline(fields, "f8", most=3)
    assert [leaf.path for leaf in found.leaves] == ["f0", "f1", "f2", "f8"]
    assert found.left_out == 6


def test_long_values_are_cut_and_what_does_not_print_is_not_sent_on() -> None:
    (long, odd) = outline({"long": "x" * 10_000, "\u202e\ud83d": "\x1b[31m"}, None).leaves
    assert len(long.value or "") == MOST_CHARACTERS + 1
    assert odd.path.isprintable()
    assert (odd.value or "").isprintable()


def test_a_value_in_five_hundred_levels_is_one_leaf() -> None:
    document = read_document(b'{"a":' * 500 + b"1" + b"}" * 500, None, None)
    (leaf,) = outline(document.fields, "a").leaves
    assert (leaf.value, leaf.failing) == ("1", True)


@pytest.mark.parametrize(
    ("reason", "detail", "field"),
    [
        (Reason.MISSING_OR_WRONG_FIELD, "amount: expected a number, got text", "amount"),
        (Reason.OUT_OF_RANGE, "items.1.price: minimum of the JSON Schema: -1 is less than 0", "items.1.price"),
        (
            Reason.MISSING_OR_WRONG_FIELD,
            'the object: required of the JSON Schema: "amount" is a required property',
            "amount",
        ),
        (
            Reason.MISSING_OR_WRONG_FIELD,
            'items.1: required of the JSON Schema: "price" is a required property',
            "items.1.price",
        ),
        (Reason.TOO_LATE, "event_time 1970-01-21T18:41:06.311+00:00 is 3 s before the broker took it", "event_time"),
        (Reason.MISSING_OR_WRONG_FIELD, "expected text, got half of a surrogate pair in the object", None),
        (Reason.OUT_OF_RANGE, "line 1, column 12 (byte 11): a number of more than 100 digits", None),
        (Reason.TRUNCATED, "byte 3: the text ends within a character", None),
        (Reason.INSERT_REFUSED, "amount: refused", None),
    ],
)
def test_the_field_is_the_one_that_the_detail_begins_with(reason: Reason, detail: str, field: str | None) -> None:
    assert failing_field(reason, detail) == field
