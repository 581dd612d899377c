"""A record's fields as a list of its values, with the one marked that is at fault. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etar.dead_letter_office.document import to_json
from etar.dead_letters.answer import Leaf
from etar.text import printable

Place = tuple[str | int, ...]
"""Keys and indices, from the outside in."""

MOST_LEAVES = 300
MOST_CHARACTERS = 200
"""Of a path, and of a value."""

_PLAIN_KEY = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Outline:
    """``left_out``: how many values there are beyond the leaves. ``place``: of the failing field."""

    leaves: Sequence[Leaf]
    left_out: int = 0
    place: Place | None = None
    there: bool = False

    @property
    def pointer(self) -> str | None:
        """The failing field as a JSON patch names it (RFC 6901)."""
        if self.place is None:
            return None
        return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in self.place)


def outline(fields: Mapping[str, Any], failing: str | None, *, most: int = MOST_LEAVES) -> Outline:
    """The values of a record in its order, at most so many; the failing one is among them, also where it is not there.

    Args:
        failing: the path of a field, its parts joined by points.
    """
    place = place_of(fields, failing) if failing else None
    there = place is not None and _has(fields, place)
    leaves: list[Leaf] = []
    left_out = 0
    for path, value in _values(fields):
        at_fault = there and path[: len(place or ())] == place
        if len(leaves) < most or (at_fault and not any(leaf.failing for leaf in leaves)):
            leaves.append(Leaf(path=_shown(path), value=_cut(to_json(value)), failing=at_fault))
        else:
            left_out += 1
    if place is not None and not there:
        leaves.append(Leaf(path=_shown(place), value=None, failing=True))
    return Outline(leaves, left_out, place, there)


def place_of(fields: Mapping[str, Any], path: str) -> Place:
    """Where a field is: a key may hold points itself, so the longest one that is there is taken. What of the path is
    not there is one key at its end."""
    place: list[str | int] = []
    here: Any = fields
    left = path
    while left:
        found = _step(here, left)
        if found is None:
            return (*place, left)
        step, left = found
        place.append(step)
        here = here[step]
    return tuple(place)


def _step(here: Any, path: str) -> tuple[str | int, str] | None:
    """The first step of a path into a value, and what is left of the path."""
    if isinstance(here, list):
        index, _, rest = path.partition(".")
        within = index.isascii() and index.isdigit() and len(index) < 10 and int(index) < len(here)
        return (int(index), rest) if within else None
    if not isinstance(here, Mapping):
        return None
    keys = [key for key in here if key and (path == key or path.startswith(f"{key}."))]
    longest = max(keys, key=len, default=None)
    return None if longest is None else (longest, path[len(longest) + 1 :])


def _has(fields: Mapping[str, Any], place: Place) -> bool:
    here: Any = fields
    for step in place:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _values(fields: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Each value that holds no others, with its place. Not by recursion: nesting has no end that is sure."""
    left: list[tuple[Place, Any]] = [((), fields)]
    while left:
        place, value = left.pop()
        if isinstance(value, Mapping) and value:
            left += reversed([((*place, key), each) for key, each in value.items()])
        elif isinstance(value, list) and value:
            left += reversed([((*place, index), each) for index, each in enumerate(value)])
        elif place:
            yield place, value


def _shown(place: Place) -> str:
    """Joined by points; a key that would not be told apart is quoted."""
    keys = (str(step) if isinstance(step, int) or _PLAIN_KEY.fullmatch(step) else json.dumps(step) for step in place)
    return _cut(".".join(keys))


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
