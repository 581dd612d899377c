"""What a build is sent: the files that ``.dockerignore`` leaves in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def ignore_patterns(root: Path) -> tuple[str, ...]:
    """The lines of ``.dockerignore`` that say something; none when there is no such file."""
    file = root / ".dockerignore"
    lines = (line.strip() for line in file.read_text().splitlines()) if file.exists() else ()
    return tuple(line for line in lines if line and not line.startswith("#"))


def is_sent(path: str, patterns: Sequence[str]) -> bool:
    """Whether a build gets ``path`` (relative to the repository): the last pattern that fits it or its folder wins."""
    here = PurePosixPath(path)
    candidates = [str(one) for one in (here, *here.parents) if str(one) != "."]
    sent = True
    for pattern in patterns:
        expression = _expression(pattern.removeprefix("!").strip("/"))
        if any(expression.fullmatch(candidate) for candidate in candidates):
            sent = pattern.startswith("!")
    return sent


def _expression(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return re.compile(text.replace(r"\?", "[^/]"))
