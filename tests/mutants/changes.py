"""Functions that hold a changed line."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_HUNK = re.compile(r"^@@ -\S+ \+(?P<first>\d+)(?:,(?P<count>\d+))? @@", re.MULTILINE)


def changed_functions(path: Path, since: str) -> list[str]:
    """Functions of the file with a line that differs from the git ref's, and that stand in it now: ``Class.method``."""
    lines = changed_lines(_git(path.parent, "diff", "--unified=0", since, "--", path.name))
    spans = function_spans(path.read_text())
    return [name for name, span in spans.items() if any(line in span for line in lines)]


def base(repository: Path, since: str | None) -> str:
    """The ref to compare with: where this work left ``since``, else ``origin/main``, or before the last commit."""
    for ref in [since] if since else ["origin/main"]:
        common = _git(repository, "merge-base", "HEAD", ref).strip()
        if since or common != _git(repository, "rev-parse", "HEAD").strip():
            return common
    return "HEAD~1"


def changed_lines(diff: str) -> set[int]:
    """Numbers of the lines that a unified diff without context puts in; of lines taken out, the one before them."""
    found: set[int] = set()
    for hunk in _HUNK.finditer(diff):
        first, count = int(hunk["first"]), int(hunk["count"] or 1)
        found.update(range(first, first + max(count, 1)))
    return found


def function_spans(source: str) -> dict[str, range]:
    """First to last line of each function and method; what is within one belongs to it."""
    return dict(_spans(ast.parse(source), ""))


def _spans(node: ast.AST, prefix: str) -> Iterator[tuple[str, range]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", range(child.lineno, (child.end_lineno or child.lineno) + 1)
        elif isinstance(child, ast.ClassDef):
            yield from _spans(child, f"{prefix}{child.name}.")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout
