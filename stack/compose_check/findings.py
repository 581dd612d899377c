"""What a check found wrong: where, which rule, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong; ``where`` is a service, a variable or a line, empty when it is about the whole file."""

    file: str
    where: str
    rule: str
    wrong: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.where}" if self.where else self.file
        return f"{place}: [{self.rule}] {self.wrong}; {self.remedy}"
