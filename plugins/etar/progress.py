"""How far something is, as a bar for a person who waits for it: on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Told = Callable[[float, float | None, str], None]
"""Takes how much is done, of how much (None: nobody knows), and what a person should read beside it."""


def say_nothing(_done: float, _total: float | None, _text: str) -> None:
    """A :data:`Told` for where nobody waits."""


@contextmanager
def progress_bar(what: str, *, hidden: bool = False) -> Iterator[Told]:
    """Show a bar while the block runs, and nothing of it afterwards; what is printed meanwhile stands above it.

    It is drawn on stderr, and only where that is a terminal that a person looks at: not in a pipe, nor in CI.

    Args:
        hidden: whether it is not wanted even there, as beside ``--json``.
    """
    if hidden or not _somebody_looks():
        yield say_nothing
        return
    # Here: a tenth of a second, which a command in a script need not pay.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn(what), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    # What is printed to stdout is redrawn on stderr: that would take it out of a pipe.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
    ) as progress:
        bar = progress.add_task(what, total=None, text="")

        def tell(done: float, total: float | None, text: str) -> None:
            progress.update(bar, completed=done, total=total, text=text)

        yield tell


def _somebody_looks() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI")
