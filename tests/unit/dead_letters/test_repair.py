"""Patches and hooks."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from etar.dead_letter_office.repair import (
    Fields,
    HookError,
    InvalidPatchError,
    NotRepairableError,
    hook_repair,
    patch_repair,
)
from etar.dead_letters import DeadLetter, Reason
from tests.unit.records.events import record

LETTER: DeadLetter = record(b"x").dead(Reason.NOT_AVRO, "no header")


def test_a_patch_leaves_its_input_as_it_was() -> None:
    fields: Fields = {"a": 1, "b": {"c": 2}}
    repair = patch_repair('[{"op": "replace", "path": "/b/c", "value": 3}, {"op": "remove", "path": "/a"}]')
    assert repair(fields, LETTER) == {"b": {"c": 3}}
    assert fields == {"a": 1, "b": {"c": 2}}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '"x"',
        '{"a": 1}',
        "[3]",
        '[{"op": "nope", "path": "/a"}]',
        '[{"op": "add"}]',
        '[{"op": "add", "path": "a", "value": 1}]',
    ],
)
def test_what_is_no_patch_is_refused_at_once(text: str) -> None:
    with pytest.raises(InvalidPatchError, match="not a JSON patch"):
        patch_repair(text)


@pytest.mark.parametrize(
    "text",
    [
        '[{"op": "remove", "path": "/nothing"}]',
        '[{"op": "test", "path": "/a", "value": 2}]',
        '[{"op": "add", "path": "/a/b/c", "value": 2}]',
        '[{"op": "add", "path": "", "value": [1]}]',
    ],
)
def test_a_patch_that_does_not_fit_a_letter_is_refused_for_it(text: str) -> None:
    with pytest.raises(NotRepairableError, match="the patch"):
        patch_repair(text)({"a": 1}, LETTER)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("somebodys_hooks")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_hook_is_given_a_copy_of_the_fields_and_the_letter(hooks: ModuleType) -> None:
    def repair(fields: Fields, letter: DeadLetter) -> Fields:
        fields["a"]["reason"] = letter.reason.value
        return fields

    hooks.repair = repair  # type: ignore[attr-defined]
    fields: Fields = {"a": {}}
    assert hook_repair("somebodys_hooks:repair")(fields, LETTER) == {"a": {"reason": "not_avro"}}
    assert fields == {"a": {}}


def test_a_hook_may_leave_a_letter_alone(hooks: ModuleType) -> None:
    hooks.repair = lambda _fields, _letter: None  # type: ignore[attr-defined]
    assert hook_repair("somebodys_hooks:repair")({}, LETTER) is None


def test_a_hook_that_raises_or_makes_nonsense_is_refused_for_the_letter(hooks: ModuleType) -> None:
    hooks.fails = lambda fields, _letter: fields["nothing"]  # type: ignore[attr-defined]
    hooks.nonsense = lambda _fields, _letter: 3  # type: ignore[attr-defined]
    with pytest.raises(NotRepairableError, match="somebodys_hooks:fails raised KeyError"):
        hook_repair("somebodys_hooks:fails")({}, LETTER)
    with pytest.raises(NotRepairableError, match="somebodys_hooks:nonsense made 3"):
        hook_repair("somebodys_hooks:nonsense")({}, LETTER)


@pytest.mark.parametrize("name", ["", "module", ":function", "module:", "no_such_module:f", "json:no_such_function"])
def test_a_hook_that_is_not_there_is_refused_with_the_setting_to_correct(name: str) -> None:
    with pytest.raises(HookError, match="ETAR_DEAD_LETTERS_HOOK"):
        hook_repair(name)
