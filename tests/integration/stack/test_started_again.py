"""A part that was killed is started again without what it left."""

from __future__ import annotations

import psutil

from stack import starting
from stack.parts import Stack
from tests.conftest import running_part


def test_a_killed_part_leaves_no_temporary_file_to_its_successor(own_stack: Stack) -> None:
    folder = own_stack.layout.temporary("s3")
    with running_part("s3", own_stack) as pid:
        assert psutil.Process(pid).environ()["TMPDIR"] == str(folder)
        (folder / "part-of-an-upload").write_text("half")
        psutil.Process(pid).kill()
    with running_part("s3", own_stack):
        assert list(folder.iterdir()) == []
        assert len(own_stack.layout.starts("s3").read_text().splitlines()) == 2
        assert not starting.keeps_ending(own_stack.layout, "s3")
