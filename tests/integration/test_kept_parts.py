"""Parts that outlive a run of pytest: found again as they are, started again when they run older code than ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.layout import Layout
from stack.lifecycle import is_ready, stop
from stack.parts import Stack, part_named
from stack.processes import left_behind
from tests import kept_parts
from tests.conftest import stack_environment, temporary_folder
from tests.kept_parts import kept_stack, start_kept_part


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder
        stop(kept_stack({}, folder), lambda _: None)
        assert left_behind(Layout.at(folder)) == []


def started(name: str, folder: Path) -> tuple[int, Stack]:
    """As a run of pytest does it, with ports of its own at hand."""
    stack = kept_stack(stack_environment(), folder)
    pid = start_kept_part(name, stack, timeout=240)
    assert is_ready(part_named(name, stack), stack)
    return pid, stack


def test_the_next_run_finds_the_same_process(folder: Path) -> None:
    first, stack = started("s3", folder)
    again, same = started("s3", folder)
    assert again == first
    assert same.settings == stack.settings


def test_a_part_of_our_own_is_started_again_when_its_code_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, _ = started("warehouse", folder)
    assert started("warehouse", folder)[0] == first
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "changed.py").touch()
    monkeypatch.setattr(kept_parts, "REPOSITORY", tmp_path)
    assert started("warehouse", folder)[0] != first
