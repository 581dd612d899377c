"""Ports that tests are given: each to one process only, whatever runs beside it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.layout import REPOSITORY
from tests import ports


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that no other test run of this machine sees."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(ports, "_held", {})
    monkeypatch.setattr(ports, "_rest", iter(()))


@contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """It holds the block that it was given first."""
    code = "from tests.ports import free_block; print(free_block(0), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_no_port_is_handed_out_twice() -> None:
    first, then = ports.free_ports(3), ports.free_ports(150)
    assert len({*first, *then}) == 153


def test_processes_side_by_side_have_blocks_of_their_own(apart: None) -> None:
    with another_process() as (_, one), another_process() as (_, other):
        assert len({one, other, ports.free_block(0)}) == 3


def test_a_killed_process_holds_no_block(apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with another_process() as (process, block):
        monkeypatch.setattr(ports, "_BLOCKS", range(block, block + 1))
        with pytest.raises(ports.NoPortsError):
            ports.free_block(0)
        process.kill()
        process.wait()
        assert ports.free_block(0) == block


@pytest.fixture
def our_own() -> int:
    return ports.free_block(3)


def test_what_something_listens_on_is_passed_over(our_own: int, apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_BLOCKS", range(our_own, our_own + 1))
    with socket.create_server(("127.0.0.1", our_own + 1)):
        with pytest.raises(ports.NoPortsError):
            ports.free_block(3)
        assert ports.free_ports(2) == [our_own, our_own + 2]
