"""``python -m handbook.pages``: writes the pages of docs/ that say what is said elsewhere, such as in the code.

A test compares each file with what this would write. The settings have a module of their own, ``stack.settings_table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from handbook import api, commands, decisions
from stack.layout import REPOSITORY

PAGES: Mapping[Path, Callable[[], str]] = {
    REPOSITORY / "docs" / "commands.md": commands.render,
    REPOSITORY / "docs" / "api-reference.md": api.render,
    decisions.FOLDER / "README.md": decisions.render,
}


def main() -> None:
    for file, render in PAGES.items():
        file.write_text(render())


if __name__ == "__main__":
    main()
