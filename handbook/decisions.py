"""docs/decisions/README.md: the decisions by their titles."""

from __future__ import annotations

from stack.layout import REPOSITORY

FOLDER = REPOSITORY / "docs" / "decisions"

_HEAD = """\
# Decisions

Why it is done like this: one short page a decision, the first ones first. What was decided otherwise later says so.

This page is generated: `make reference` writes it, and a test says when it is out of date.
"""


def render() -> str:
    """The whole page."""
    pages = sorted(FOLDER.glob("[0-9]*.md"))
    titles = {page.name: page.read_text().partition("\n")[0].removeprefix("# ") for page in pages}
    # A number with a full stop would begin a list of its own, within the list.
    lines = [f"- [{title.partition('. ')[2]}]({name}) ({title.partition('.')[0]})" for name, title in titles.items()]
    return _HEAD + "\n" + "\n".join(lines) + "\n"
