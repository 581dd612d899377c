"""The containers' files, and copies of them with something wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stack.compose_check.programs import read_project
from stack.compose_check.project import Project
from stack.layout import REPOSITORY

WRITTEN = (".dockerignore", ".env.example", "docker-compose.yml", "docker", "pyproject.toml", "requirements.txt")
"""What a test may change in its copy; everything else there is a link to the repository's own."""

LEFT_OUT = (".build", ".etar", ".git", ".venv", "secrets", ".env")


@pytest.fixture(scope="session")
def project() -> Project:
    """The repository's own containers, as Compose's program reads them."""
    return read_project(REPOSITORY)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository again, for a test to break."""
    for entry in REPOSITORY.iterdir():
        there = tmp_path / entry.name
        if entry.name not in WRITTEN + LEFT_OUT:
            there.symlink_to(entry)
        elif entry.name in WRITTEN:
            if entry.is_dir():
                shutil.copytree(entry, there)
            else:
                shutil.copy(entry, there)
    return tmp_path


def change(root: Path, file: str, old: str, new: str) -> None:
    """Replace the first ``old`` in a file, which has to be there."""
    text = (root / file).read_text()
    assert old in text, f"{file} no longer has {old!r}: change this test's mistake with it"
    (root / file).write_text(text.replace(old, new, 1))
