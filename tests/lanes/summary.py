"""What a run of lanes says at its end: what failed, was slow, was skipped and why, and how long each part took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from junitparser import JUnitXml, Skipped

from tests.lanes.running import Ended

SLOWEST = 25
_FAILURE_LINES = 600
_SECTION = re.compile(r"^=+ (ERRORS|FAILURES) =+$")
_CLOSING = re.compile(r"^=+ .*\bin [\d.]+s\b.* =+$")


@dataclass(frozen=True)
class Tests:
    """What pytest noted of one part's tests: how long each took with its fixtures, and why it was skipped."""

    seconds: dict[str, float]
    skipped: tuple[str, ...]


def read_tests(ended: Ended) -> Tests:
    """Empty for a part that is not pytest's, or whose pytest wrote nothing."""
    if ended.junit is None or not ended.junit.exists():
        return Tests({}, ())
    cases = [case for suite in JUnitXml.fromfile(str(ended.junit)) for case in suite]
    return Tests(
        {f"{case.classname}::{case.name}": float(case.time or 0) for case in cases},
        tuple(str(found.message) for case in cases for found in case.result if isinstance(found, Skipped)),
    )


def lines(ended: Sequence[Ended], seconds: float) -> Iterator[str]:
    """The summary, failures first. pytest's own closing lines stand in it as they are, one for each of its parts."""
    failed = [part for part in ended if not part.ok]
    for part in failed:
        yield from _failure(part)
    tests = {part.part.name: read_tests(part) for part in ended}
    yield from _slowest(tests)
    yield from _skipped(tests)
    yield from ("", "What ran:")
    for part in ended:
        yield f"  {part.lane:<14} {part.part.name:<14} {part.seconds / 60:6.1f} min  {part.outcome}"
    yield f"  {len(ended) - len(failed)} of {len(ended)} parts passed in {seconds / 60:.1f} min"
    for part in ended:
        yield from _closing_line(part)


def _failure(ended: Ended) -> Iterator[str]:
    """What the part's log says of its failures: of pytest from its first section about them, else the log's end."""
    if ended.code is None:
        return
    text = ended.log.read_text(errors="replace").splitlines()
    begins = next((number for number, line in enumerate(text) if _SECTION.match(line)), None)
    shown = text[begins:][:_FAILURE_LINES] if begins is not None else text[-_FAILURE_LINES:]
    yield from ("", f"{ended.lane}: {ended.part.name} {ended.outcome}; the whole output is in {ended.log}")
    yield from (f"  {line}" for line in shown)


def _slowest(tests: dict[str, Tests]) -> Iterator[str]:
    every = [(seconds, part, name) for part, found in tests.items() for name, seconds in found.seconds.items()]
    if every:
        yield from ("", "The slowest, with the fixtures that they were the first to need:")
    for seconds, part, name in sorted(every, reverse=True)[:SLOWEST]:
        yield f"  {seconds:7.1f} s  {part:<12} {name}"


def _skipped(tests: dict[str, Tests]) -> Iterator[str]:
    reasons = Counter(reason for found in tests.values() for reason in found.skipped)
    if reasons:
        yield from ("", "Skipped:")
    for reason, count in reasons.most_common():
        yield f"  {count:5}  {reason}"


def _closing_line(ended: Ended) -> Iterable[str]:
    if not ended.part.is_pytest or ended.code is None:
        return ()
    found = [line for line in ended.log.read_text(errors="replace").splitlines() if _CLOSING.match(line)]
    return found[-1:]
