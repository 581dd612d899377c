"""JSON as a stream's records are held to: one object, numbers exact, nothing twice, nothing behind it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from etar.dead_letters import Reason
from etar.records.column_types import MOST_DIGITS
from etar.records.record import BadRecordError

MOST_LEVELS = 100
"""Objects and lists in one another. Python's parser goes some hundred deep, and how many depends on who calls it."""

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))|(?P<open>[\[{])|(?P<close>[\]}])|(?P<word>[^\s"\[\]{},:]++)|[,:]',
    re.DOTALL,
)
_CUT_WORD = re.compile(r"(?:t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\.|[eE][+-]?)\s*\Z")
"""What is left where the text ends within a word or a number."""

_CUT_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{0,4}\Z")


class _NotReadError(ValueError):
    """What the parser gives no place for; it is looked for afterwards."""


class _TooLongError(_NotReadError):
    pass


class _TwiceError(_NotReadError):
    pass


class _NoNumberError(_NotReadError):
    pass


def read_object(value: bytes) -> dict[str, Any]:
    """The object that a value is: numbers as int and Decimal, exact.

    Raises:
        BadRecordError: ``not_json``, ``truncated``, ``trailing_bytes``, ``null_value`` (JSON's null), or
            ``out_of_range`` (a number of more than :data:`MOST_DIGITS` digits); the detail says where.
    """
    found = read_value(value)
    if isinstance(found, dict):
        return found
    if found is None:
        raise BadRecordError(Reason.NULL_VALUE, "the value is JSON's null")
    raise BadRecordError(Reason.NOT_JSON, f"a record is an object, and the value is {_KINDS[type(found)]}")


_KINDS = {list: "a list", str: "text", bool: "true or false", int: "a number", Decimal: "a number"}


def read_value(value: bytes) -> Any:
    """As :func:`read_object`, of whichever kind."""
    text = _decoded(value)
    # An upper bound of the depth, which suffices for nearly all; the true one takes as long as parsing.
    if value.count(b"{") + value.count(b"[") > MOST_LEVELS:
        _refuse_depth(text)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _fault(text, error) from error
    except _TooLongError as error:
        where = _place(text, _first_long_number(text))
        raise BadRecordError(
            Reason.OUT_OF_RANGE, f"{where}: a number of more than {MOST_DIGITS} digits, or beyond 10^{MOST_DIGITS}"
        ) from error
    except _TwiceError as error:
        raise BadRecordError(Reason.NOT_JSON, _told_twice(text)) from error
    except _NoNumberError as error:
        raise BadRecordError(Reason.NOT_JSON, f"{_place(text, _word(text, str(error)))}: {error} is no JSON") from error


def to_text(value: Any, *, allow_nan: bool = False) -> str:
    """A value as JSON: a Decimal as the number it is, bytes as text of one character a byte.

    Args:
        allow_nan: write NaN and the infinities by these names, for people.

    Raises:
        ValueError, TypeError: it holds what JSON has not: NaN, an infinity, another type.
    """
    inner = partial(to_text, allow_nan=allow_nan)
    match value:
        case dict():
            fields = (f"{inner(name)}: {inner(each)}" for name, each in value.items())
            return f"{{{', '.join(fields)}}}"
        case list() | tuple():
            return f"[{', '.join(map(inner, value))}]"
        case bytes():
            return json.dumps(value.decode("latin-1"), ensure_ascii=False)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no JSON")
            return str(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=allow_nan)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data"
        reason = Reason.TRUNCATED if cut else Reason.NOT_JSON
        raise BadRecordError(
            reason, f"byte {error.start}: {'the text ends within a character' if cut else 'no UTF-8'}"
        ) from error


def _fault(text: str, error: json.JSONDecodeError) -> BadRecordError:
    where = f"{_place(text, error.pos)}: {error.msg}"
    if error.msg == "Extra data":
        behind = len(text[error.pos :].encode())
        return BadRecordError(Reason.TRAILING_BYTES, f"{_place(text, error.pos)}: {behind} bytes follow the object")
    rest = text[error.pos :]
    cut_escape = error.msg.startswith("Invalid \\u") and _CUT_ESCAPE.search(text)
    if error.msg.startswith("Unterminated") or not rest.strip() or _CUT_WORD.match(rest) or cut_escape:
        return BadRecordError(Reason.TRUNCATED, f"{where}, and the text ends")
    return BadRecordError(Reason.NOT_JSON, where)


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"line {line}, column {at - text.rfind(chr(10), 0, at)}"


def _tokens(text: str) -> Iterator[re.Match[str]]:
    return _TOKEN.finditer(text)


def _refuse_depth(text: str) -> None:
    depth = 0
    for token in _tokens(text):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if depth > MOST_LEVELS:
            raise BadRecordError(
                Reason.NOT_JSON,
                f"{_place(text, token.start())}: objects and lists in more than {MOST_LEVELS} levels",
            )


def _word(text: str, word: str) -> int:
    return next((token.start() for token in _tokens(text) if token["word"] == word), 0)


def _first_long_number(text: str) -> int:
    for token in _tokens(text):
        if (word := token["word"]) and word[0] in "-0123456789":
            try:
                _number(word)
            except _TooLongError:
                return token.start()
    return 0


def _told_twice(text: str) -> str:
    """Of the first key that is in an object for the second time: where, and which."""
    keys: list[set[str] | None] = []
    before: re.Match[str] | None = None
    for token in _tokens(text):
        if token.lastgroup == "open":
            keys.append(set() if token[0] == "{" else None)
        elif token.lastgroup == "close":
            keys.pop()
        elif token[0] == ":" and before and keys and (own := keys[-1]) is not None:
            key = json.loads(before[0])
            if key in own:
                return f"{_place(text, before.start())}: the key {key!r:.60} is in its object twice"
            own.add(key)
        before = token
    raise AssertionError("a key that was there twice a moment ago is there once")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceError
    return made


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise _TooLongError
    return int(text)


def _number(text: str) -> Decimal:
    # The power of ten may itself be too long a number: it is looked at before it is one.
    _, _, power = text.lower().partition("e")
    if len(text) > MOST_DIGITS or len(power.lstrip("+-0")) > len(str(MOST_DIGITS)):
        raise _TooLongError
    number = Decimal(text)
    if abs(number.adjusted()) > MOST_DIGITS:
        raise _TooLongError
    return number


def _refused(word: str) -> Any:
    raise _NoNumberError(word)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_refused)
