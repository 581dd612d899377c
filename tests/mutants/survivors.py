"""The list of mutants that may survive, each with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Mutant:
    """A mutant by what it is, as numbers change with every line: the function's lines taken out and put in.

    Where no unit test runs the function there is nothing to tell its mutants by, and both are empty.
    """

    function: str
    """``etar.audit.marks.Marks.held``"""

    was: str = ""
    becomes: str = ""

    def __str__(self) -> str:
        return f"[[survivor]]\nfunction = {self.function!r}" + (
            f"\nwas = {self.was!r}\nbecomes = {self.becomes!r}" if self.was or self.becomes else ""
        )


@dataclass(frozen=True)
class Listed:
    mutant: Mutant
    why: str


def read_list(path: Path = LIST) -> list[Listed]:
    entries = tomllib.loads(path.read_text()).get("survivor", [])
    return [
        Listed(Mutant(entry["function"], entry.get("was", ""), entry.get("becomes", "")), entry["why"].strip())
        for entry in entries
    ]


def unlisted(survivors: Iterable[Mutant], listed: Sequence[Listed]) -> list[Mutant]:
    known = {each.mutant for each in listed}
    return [mutant for mutant in survivors if mutant not in known]


def function_of(name: str) -> str:
    """Of mutmut's ``etar.audit.marks.xǁMarksǁheld__mutmut_3``: ``etar.audit.marks.Marks.held``."""
    module, _, mangled = name.partition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled.removeprefix('xǁ').replace('ǁ', '.') if 'ǁ' in mangled else mangled.removeprefix('x_')}"


def pattern_of(module: str, function: str) -> str:
    """mutmut's names of the mutants of ``Class.method`` or of a function."""
    mangled = f"xǁ{function.replace('.', 'ǁ')}" if "." in function else f"x_{function}"
    return f"{module}.{mangled}__mutmut_*"


def mutant_of(name: str, diff: str) -> Mutant:
    """By mutmut's name and its diff."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return Mutant(function_of(name), was, becomes)
