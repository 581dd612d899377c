"""Processes that can be killed and begin within milliseconds: a Python that imports what etar does takes two seconds.

Forked from a process without threads, which has imported what they need, and not from this one, whose clients have
threads that a fork would leave behind half-way.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from etar.settings import get_settings

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["etar.verify.account", "etar.audit.run", "etar.dead_letter_office.office", "etar.records.intake", "tests.forked"]
    + [f"etar.pipeline.{step}" for step in ("extract", "lost_rows", "publish", "facts", "settle", "tasks.minute")]
)


def forked(work: Callable[..., object], *arguments: object, log: Path) -> BaseProcess:
    """``work`` in a process of its own, begun, with this one's environment as it is now.

    What it says goes to the end of ``log``, an exception too; it ends with 1 then, else with 0.
    """
    process = _FORKS.Process(target=_run, args=(dict(os.environ), log, work, arguments), daemon=True)
    process.start()
    return process


def _run(environment: Mapping[str, str], log: Path, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    get_settings.cache_clear()
    with log.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        work(*arguments)
    except Exception:
        print(f"{work.__name__}:\n{traceback.format_exc()}", flush=True)
        os._exit(1)
