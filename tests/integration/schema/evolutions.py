"""Changes that someone may make to the newest schema of ``versions/``, and what has to come of each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etar.dead_letters import Reason

VERSIONS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "versions").glob("*.avsc"))}
"""Every schema that producers of this repository have written with, oldest first."""

NEWEST: dict[str, Any] = json.loads(list(VERSIONS.values())[-1])

Schema = dict[str, Any]
Change = Callable[[Schema], object]


@dataclass(frozen=True)
class Accepted:
    """A change that the registry takes.

    ``wrote``: fields of a new writer's event. ``stored``: what its row has, in the table as it is, or why it is none.
    ``column``: a column to add for it, and ``then``: what a new writer's row has in it afterwards.
    """

    change: Change
    wrote: Mapping[str, Any] = field(default_factory=dict)
    stored: Mapping[str, Any] | Reason = field(default_factory=dict)
    column: str | None = None
    then: Any = None

    @property
    def schema(self) -> Schema:
        return changed(self.change)


@dataclass(frozen=True)
class Refused:
    """A change that the registry does not take; ``because``: part of what the producer says."""

    change: Change
    because: str

    @property
    def schema(self) -> Schema:
        return changed(self.change)


def changed(change: Change, schema: Schema = NEWEST) -> Schema:
    copied = copy.deepcopy(schema)
    change(copied)
    return copied


def add(**new: Any) -> Change:
    return lambda schema: schema["fields"].append(new)


def alter(name: str, /, **parts: Any) -> Change:
    return lambda schema: _field(schema, name).update(parts)


def remove(name: str) -> Change:
    return lambda schema: schema["fields"].remove(_field(schema, name))


def _field(schema: Schema, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(field for field in schema["fields"] if field["name"] == name)
    return found


ACCEPTED = {
    "an optional field is new": Accepted(
        add(name="referrer", type=["null", "string"], default=None),
        wrote={"referrer": "a friend"},
        column="referrer Nullable(String)",
        then="a friend",
    ),
    "a field with a default is new": Accepted(
        add(name="channel", type="string", default="web"),
        wrote={"channel": "app"},
        column="channel LowCardinality(Nullable(String))",
        then="app",
    ),
    "an optional number is new": Accepted(
        add(name="quantity", type=["null", "int"], default=None),
        wrote={"quantity": 2**31 - 1},
        column="quantity Nullable(Int64)",
        then=2**31 - 1,
    ),
    "an optional instant is new": Accepted(
        add(name="seen_at", type=["null", {"type": "long", "logicalType": "timestamp-millis"}], default=None),
        wrote={"seen_at": None},
        column="seen_at Nullable(DateTime64(3, 'UTC'))",
    ),
    "a default is removed": Accepted(
        lambda schema: _field(schema, "product_id").pop("default"),
        wrote={"product_id": None},
        stored={"product_id": None},
    ),
    "an optional field is removed": Accepted(remove("error_code"), stored={"error_code": None}),
    "an optional field becomes text always": Accepted(
        lambda schema: _field(schema, "product_id").update(type=["string", "null"], default="none"),
        wrote={"product_id": "p-1"},
        stored={"product_id": "p-1"},
    ),
    "the fields are in another order": Accepted(lambda schema: schema["fields"].reverse(), stored={"device": "mobile"}),
    "an event type is new": Accepted(
        lambda schema: _field(schema, "event_type")["type"]["symbols"].append("refund"),
        wrote={"event_type": "refund"},
        stored={"event_type": "refund"},
    ),
    "a status is new": Accepted(
        lambda schema: _field(schema, "status")["type"]["symbols"].append("timeout"),
        wrote={"status": "timeout"},
        stored={"status": "timeout"},
    ),
    "the words that explain it are others": Accepted(lambda schema: schema.update(doc="An interaction.")),
    "time is in microseconds": Accepted(
        alter("event_time", type={"type": "long", "logicalType": "timestamp-micros"}), wrote={"event_time": 1_000}
    ),
    "a field may be null, and is not": Accepted(
        alter("device", type=["null", "string"], default=None), wrote={"device": "tv"}, stored={"device": "tv"}
    ),
    # What the registry takes (a reader of the new schema reads the old events), and the table does not:
    "a field may be null, and is": Accepted(
        alter("device", type=["null", "string"], default=None),
        wrote={"device": None},
        stored=Reason.MISSING_OR_WRONG_FIELD,
    ),
    "a needed field is removed": Accepted(remove("device"), stored=Reason.MISSING_OR_WRONG_FIELD),
    "a needed field has a new name and an alias": Accepted(
        alter("device", name="device_kind", aliases=["device"]),
        wrote={"device_kind": "tv"},
        stored=Reason.MISSING_OR_WRONG_FIELD,
    ),
    "a whole number becomes one with a fraction": Accepted(
        alter("amount", type=["null", "double"]), wrote={"amount": 19.99}, stored=Reason.MISSING_OR_WRONG_FIELD
    ),
    "text becomes bytes": Accepted(
        alter("device", type="bytes"), wrote={"device": b"tv"}, stored=Reason.MISSING_OR_WRONG_FIELD
    ),
}

REFUSED = {
    "a needed field is new": Refused(add(name="referrer", type="string"), "the new field 'referrer' has no default"),
    "an optional field without a default is new": Refused(
        add(name="referrer", type=["null", "string"]), "the new field 'referrer' has no default"
    ),
    "a field has a new name": Refused(
        alter("device", name="device_kind"), "the new field 'device_kind' has no default"
    ),
    "a number becomes narrower": Refused(
        alter("amount", type=["null", "int"]), "the field 'amount': reader union lacking writer type: LONG"
    ),
    "text becomes a number": Refused(
        alter("device", type="long"), "the field 'device': reader type: LONG not compatible with writer type: STRING"
    ),
    "an optional field must be there": Refused(
        lambda schema: _field(schema, "error_code").update(type="string", default=""), "the field 'error_code': "
    ),
    "an enum has one symbol less": Refused(
        lambda schema: _field(schema, "event_type")["type"]["symbols"].remove("search"),
        "the field 'event_type' lacks the symbols [search]",
    ),
    "the record has a new name": Refused(
        lambda schema: schema.update(name="Event"), "expected: etar.UserEvent at /name"
    ),
}
