"""Run a job that a stream brings with it: ``python -m spark_apps.run_job STREAM/JOB``, and what its program takes.

Ends with 2 where there is no such job. What the job ends with, this does.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from etar.errors import PermanentError
from etar.streams import stream_named

_REPOSITORY = Path(__file__).resolve().parents[1]


def main(argv: Sequence[str]) -> None:
    """Become the job's program.

    Raises:
        SystemExit: as the program ends, or with 2.
    """
    which, *rest = argv or [""]
    stream_name, _, name = which.partition("/")
    try:
        stream = stream_named(stream_name)
    except PermanentError as error:
        _refuse(str(error))
    job = next((each for each in stream.jobs if each.name == name), None)
    if job is None:
        known = ", ".join(f"{stream_name}/{each.name}" for each in stream.jobs) or "none"
        _refuse(f"there is no job {which!r}; the stream's jobs are: {known}")
    program = stream.job_app(job, _REPOSITORY)
    if not program.is_file():
        _refuse(f"{stream.file('stream.toml')} names {job.app}, which is neither in its folder nor in {_REPOSITORY}")
    sys.argv = [str(program), "--stream", stream.name, "--job", job.name, *rest]
    runpy.run_path(str(program), run_name="__main__")


def _refuse(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
