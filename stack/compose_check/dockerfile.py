"""A Dockerfile taken apart: stages, and in them instructions with their continued lines joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Instruction:
    line: int
    keyword: str
    text: str


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def of(self, *keywords: str) -> tuple[Instruction, ...]:
        return tuple(one for one in self.instructions if one.keyword in keywords)


@dataclass(frozen=True)
class Dockerfile:
    """``arguments`` are the defaults of the ARG lines before the first FROM, which FROM lines may use."""

    arguments: Mapping[str, str]
    stages: tuple[Stage, ...]

    def stage(self, target: str | None) -> Stage | None:
        """The stage of that name, or the last one, which is what a build without a target makes."""
        if not target:
            return self.stages[-1] if self.stages else None
        return next((stage for stage in self.stages if stage.name == target), None)

    def lineage(self, stage: Stage) -> tuple[Stage, ...]:
        """The stage and those it is built upon, nearest first."""
        before = self.stages[: self.stages.index(stage)]  # FROM means an earlier stage, never the one it begins
        base = next((one for one in before if one.name == stage.base), None)
        return (stage, *self.lineage(base)) if base else (stage,)


def parse_dockerfile(text: str) -> Dockerfile:
    """Take a Dockerfile apart; heredocs are not known (none of ours has one)."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.keyword == "FROM":
            base, name = _from(instruction.text, arguments, len(stages))
            stages.append(Stage(name, base, ()))
        elif not stages:
            name, _, default = instruction.text.partition("=")
            arguments[name] = default.strip("\"'")
        else:
            last = stages[-1]
            stages[-1] = Stage(last.name, last.base, (*last.instructions, instruction))
    return Dockerfile(arguments, tuple(stages))


def _from(text: str, arguments: Mapping[str, str], number: int) -> tuple[str, str]:
    words = [word for word in text.split() if not word.startswith("--")]
    base = re.sub(r"\$\{?(\w+)\}?", lambda used: arguments.get(used[1], ""), words[0])
    return base, words[2] if len(words) == 3 and words[1].upper() == "AS" else str(number)


def _instructions(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    begun: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not begun:
            first = number
        begun.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            keyword, _, rest = " ".join(begun).partition(" ")
            found.append(Instruction(first, keyword.upper(), rest.strip()))
            begun = []
    return found
