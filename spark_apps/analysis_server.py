"""One Spark that stays: runs the analysis for whoever asks over HTTP, in a second instead of a driver's ten.

``POST /analyses {"arguments": [...]}`` takes what ``minute_report.py`` takes on its command line, and answers with
its exit code, its lines and what it took; where it failed, with what Spark wrote to its log meanwhile. Ends as soon as
its JVM does, so that who supervises it starts both anew.
"""

from __future__ import annotations

import hmac
import logging
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import psutil
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from pyspark.sql import SparkSession

from etar.made_up_rows import made_up_rows
from etar.processor_time import SharedTime
from etar.stream_code import report_transform
from etar.streams import default_stream
from spark_apps import minute_report

_log = logging.getLogger(__name__)

EXIT_SPARK_ENDED = 70
"""Exit code of a server whose JVM has ended (EX_SOFTWARE in sysexits.h)."""

_JVM_ENDS_WITHIN_SECONDS = 15.0

_LOG_LINES = 60
"""Of the log of a failed analysis, for the task's."""
_LOG_BYTES = 256 * 1024
_LINE = 1000
_FRAMES = 3
"""Of each stack trace: what failed and where from stands above them, and the file has the others."""


class Asked(BaseModel):
    """Arguments of ``minute_report.py``."""

    arguments: list[str]


class Answered(BaseModel):
    """Its exit code, and what it said on the way."""

    code: int
    lines: list[str]
    cpu_seconds: float
    """Seconds of a core that it took of this Spark: while several callers are served, each has an equal part."""
    log: list[str] = []
    """Of an analysis that failed: the end of what Spark has logged since it began, of others at work, too."""
    log_file: str = ""
    """Where all of it is, on this machine; empty where nobody has said."""


@dataclass(frozen=True)
class Log:
    """The file that this process and its JVM write to, by whoever started them; rotated any time."""

    file: Path | None

    def size(self) -> int:
        return self.file.stat().st_size if self.file and self.file.is_file() else 0

    def since(self, start: int) -> list[str]:
        """The last lines that were written after byte ``start``, with the first frames of each stack trace."""
        if not self.file or not self.file.is_file():
            return []
        with self.file.open("rb") as lines:
            size = self.size()
            # Smaller than it was: another file, whose every line is newer.
            lines.seek(max(start if start <= size else 0, size - _LOG_BYTES))
            found = _shortened(lines.read().decode(errors="replace").splitlines())
            return [line[:_LINE] for line in found][-_LOG_LINES:]


def _shortened(lines: Iterable[str]) -> Iterator[str]:
    for of_trace, group in groupby(lines, lambda line: line.startswith("\tat ")):
        each = list(group)
        yield from each[:_FRAMES] if of_trace else each
        if of_trace and len(each) > _FRAMES:
            yield f"\t… {len(each) - _FRAMES} more frames"


def create_app() -> FastAPI:
    """The server, with its Spark started and warm. Spark's own configuration is in ``PYSPARK_SUBMIT_ARGS``.

    Raises:
        KeyError: ``ETAR_ANALYSIS_TOKEN``, which callers have to bring, is not in the environment.
    """
    token = os.environ["ETAR_ANALYSIS_TOKEN"]
    spark = SparkSession.builder.appName("etar").getOrCreate()
    jvm: subprocess.Popen[bytes] = spark.sparkContext._gateway.proc
    stopping = threading.Event()
    threading.Thread(target=_end_with_the_jvm, args=(jvm, stopping), daemon=True).start()
    # What the first minute would have to wait for: classes loaded, code generated.
    # From Arrow: for rows of Python, Spark would keep three more Pythons.
    _warm(spark)

    processor = SharedTime(_processor_seconds)
    log = Log(Path(os.environ["ETAR_ANALYSIS_LOG"]) if os.environ.get("ETAR_ANALYSIS_LOG") else None)

    def known(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        stopping.set()
        spark.stop()
        # It ends when its input does; nothing of it must be left when this process has ended.
        if jvm.stdin is not None:
            jvm.stdin.close()
        jvm.wait(_JVM_ENDS_WITHIN_SECONDS)

    app = FastAPI(title="etar analysis", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Spark's version, as its JVM gives it."""
        return {"spark": spark.version}

    @app.post("/analyses", dependencies=[Depends(known)])
    def analyse(asked: Asked) -> Answered:
        """Run the analysis; several callers at once share this Spark's cores."""
        lines: list[str] = []
        began = log.size()
        try:
            with processor.shared() as share:
                code = minute_report.main(asked.arguments, say=lines.append, complain=lines.append)
        except SystemExit:
            raise HTTPException(422, f"not the arguments of an analysis: {asked.arguments}") from None
        said = log.since(began) if code else []
        print(*lines, sep="\n", flush=True)
        file = str(log.file or "")
        return Answered(code=code, lines=lines, cpu_seconds=share.seconds, log=said, log_file=file)

    return app


def _processor_seconds() -> float:
    """What this process, the JVM below it and that one's Python workers have had."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended meanwhile
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _warm(spark: SparkSession) -> None:
    try:
        stream = default_stream()
        report_transform(stream)(spark.createDataFrame(made_up_rows(stream, 1))).collect()
    except Exception as error:
        # A fault of this stream is no reason to keep the others from Spark; its own minutes say it as well.
        _log.warning("Spark begins cold: %s", error)


def _end_with_the_jvm(jvm: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    """Without its JVM every call would fail from here on, and the port would look as if all were well."""
    code = jvm.wait()
    if stopping.is_set():
        return
    _log.critical("Spark's JVM has ended with %s; this process ends, start it again", code)
    logging.shutdown()
    os._exit(EXIT_SPARK_ENDED)
