"""The pages that are made from the code say what the code says, and leave nothing out."""

from __future__ import annotations

from pathlib import Path

import pytest

from handbook.pages import PAGES


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_a_page_is_what_the_code_says(file: Path) -> None:
    assert file.read_text() == PAGES[file](), "run make reference"
