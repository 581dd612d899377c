"""Repairs of a bad record's fields: a JSON patch, or a hook of one's own."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from etar.dead_letters import DeadLetter

Fields = dict[str, Any]
Repair = Callable[[Fields, DeadLetter], Fields | None]
"""From a letter's fields, as far as they could be read, to those it should have had; None to leave it as it is."""


class InvalidPatchError(ValueError):
    """The text is no JSON patch (RFC 6902)."""


class HookError(ValueError):
    """The hook named in the settings cannot be used."""


class NotRepairableError(ValueError):
    """A repair does not fit this letter; the message says where."""


def patch_repair(text: str) -> Repair:
    """A repair by an RFC 6902 JSON patch, e.g. ``[{"op": "add", "path": "/device", "value": "mobile"}]``.

    Raises:
        InvalidPatchError: it is not JSON, not a list of operations, or an operation does not exist.
    """
    import jsonpatch  # type: ignore[import-untyped]
    from jsonpointer import JsonPointerException

    try:
        patch = jsonpatch.JsonPatch(json.loads(text, parse_float=Decimal))
    except (ValueError, TypeError, jsonpatch.JsonPatchException, JsonPointerException) as error:
        raise InvalidPatchError(
            f"not a JSON patch: {error}. Write a list of operations, like "
            '[{"op": "replace", "path": "/event_time", "value": 1795257060000}]'
        ) from error

    def repair(fields: Fields, _letter: DeadLetter) -> Fields:
        try:
            patched = patch.apply(fields)
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError) as error:
            raise NotRepairableError(f"the patch does not fit: {error}") from error
        return _as_fields(patched, "the patch")

    return repair


def hook_repair(name: str) -> Repair:
    """A repair by the function ``module:function``, called with a copy of the fields and the letter.

    Raises:
        HookError: there is no such module or function.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise HookError(f"ETAR_DEAD_LETTERS_HOOK={name!r} does not name a function; write module:function")
    try:
        hook = cast("Repair", getattr(importlib.import_module(module_name), function_name))
    except (ImportError, AttributeError) as error:
        raise HookError(
            f"the hook {name!r} cannot be loaded: {error}. Put its module on PYTHONPATH, or correct "
            "ETAR_DEAD_LETTERS_HOOK"
        ) from error

    def repair(fields: Fields, letter: DeadLetter) -> Fields | None:
        try:
            repaired = hook(copy.deepcopy(fields), letter)
        except Exception as error:  # a person's own code; one letter that it fails on must not stop the others
            raise NotRepairableError(f"the hook {name} raised {error!r:.300}") from error
        return None if repaired is None else _as_fields(repaired, f"the hook {name}")

    return repair


def _as_fields(value: Any, author: str) -> Fields:
    if not isinstance(value, dict):
        raise NotRepairableError(f"{author} made {value!r:.60}; it has to make an object of fields")
    return value
