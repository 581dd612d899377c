"""Bytes and milliseconds of what a viewer asks the report API: the newest report, a day of them, 200 viewers at once.

    .venv/bin/python bench/queries.py --against ../before

Each version serves a day of reports, by its own report API on a PostgreSQL of its own; the plain way is a deque in a
process (``plain/deque_api.py``). They are asked in turn, over a connection that is kept.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.measure import Row, in_turn, options_of_a_figure, tell
from stack.layout import REPOSITORY
from tests.conftest import running_server
from tests.ports import free_ports

_MINUTES = 1440
_VIEWERS = 200

_SERVE = """\
import json, sys
from datetime import UTC, datetime, timedelta
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from stack.configuration import prepare_settings
from stack.layout import Layout
from stack.parts import Stack
from tests.conftest import running_part, stack_environment, temporary_folder
from tests.integration.dashboard.serving import READ_TOKEN, serving
from tests.unit.dashboard.samples import a_report

now = datetime.now(UTC)
minutes = int(sys.argv[1])
with temporary_folder() as folder:
    layout = Layout.at(folder)
    layout.create()
    stack = Stack(layout, prepare_settings(layout.settings_file, stack_environment(), now))
    names = ("host", "port", "database", "user", "password")
    store = ReportStoreSettings(**{name: stack.settings[f"ETAR_REPORT_STORE_{name.upper()}"] for name in names})
    with running_part("postgres", stack), serving(store, layout.log("report-api")) as api:
        first = MinuteWindow.containing(now - timedelta(minutes=minutes))
        for number in range(minutes):
            report = a_report(MinuteWindow(first.start + timedelta(minutes=number)), views=100 + number)
            api.writer.post("/report", json=report.model_dump(mode="json")).raise_for_status()
        print(json.dumps({"place": api.url.removeprefix("http://"), "token": READ_TOKEN}), flush=True)
        sys.stdin.read()
"""


class Place(NamedTuple):
    """Where an API answers, and what it wants to be told."""

    netloc: str
    headers: Mapping[str, str]


class Answered(NamedTuple):
    """One request: milliseconds, bytes of the body, and the headers."""

    ms: float
    size: int
    etag: str | None


@contextmanager
def api_of(version: Path, log: Path) -> Iterator[Place]:
    """A version's report API with a day of reports."""
    environment = os.environ | {"PYTHONPATH": str(version)}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [version / ".venv" / "bin" / "python", "-c", _SERVE, str(_MINUTES)],
            cwd=version, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            assert process.stdout  # noqa: S101  # a pipe, as asked for
            if not (line := process.stdout.readline()):
                raise RuntimeError(log.read_text()[-2000:])
            told = json.loads(line)
            yield Place(told["place"], {"Authorization": f"Bearer {told['token']}"})
        finally:
            process.communicate(timeout=60)


@contextmanager
def plain_api(folder: Path, reports: list[object]) -> Iterator[Place]:
    """The plain API, with these reports."""
    netloc = f"127.0.0.1:{free_ports(1)[0]}"
    command = ["uvicorn", "bench.plain.deque_api:app", "--host", "127.0.0.1", "--port", netloc.split(":")[1]]
    with running_server(command, {}, folder / "plain.log", answers_at=f"http://{netloc}/openapi.json"):
        with closing(http.client.HTTPConnection(netloc)) as connection:
            for report in reports:
                connection.request("POST", "/report", json.dumps(report), {"Content-Type": "application/json"})
                connection.getresponse().read()
        yield Place(netloc, {})


def ask(connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]) -> Answered:
    began = time.perf_counter()
    connection.request("GET", path, headers=dict(headers))
    answer = connection.getresponse()
    body = answer.read()
    ms = (time.perf_counter() - began) * 1000
    if answer.status not in (200, 304):
        raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
    return Answered(ms, len(body), answer.headers["ETag"])


def knowing(place: Place, answer: Answered) -> Mapping[str, str]:
    """The headers of a client that has the answer already, and would take "not changed" for one."""
    return {**place.headers, **({"If-None-Match": answer.etag} if answer.etag else {})}


def at_once(place: Place, path: str) -> Answered:
    """As many viewers, each with a connection of its own, from the first to the last answer."""

    def look(_: int) -> Answered:
        with closing(http.client.HTTPConnection(place.netloc, timeout=60)) as connection:
            return ask(connection, path, place.headers)

    with ThreadPoolExecutor(_VIEWERS) as viewers:
        began = time.perf_counter()
        answers = list(viewers.map(look, range(_VIEWERS)))
    return Answered((time.perf_counter() - began) * 1000, sum(answer.size for answer in answers), None)


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    day, newest = f"/reports?limit={_MINUTES}", "/report"
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        apis = {"ours": running.enter_context(api_of(REPOSITORY, folder / "ours.log"))}
        if asked.against:
            version = asked.against.resolve()
            apis[version.name] = running.enter_context(api_of(version, folder / "before.log"))
        connections = {
            name: running.enter_context(closing(http.client.HTTPConnection(place.netloc, timeout=60)))
            for name, place in apis.items()
        }
        connections["ours"].request("GET", day, headers=dict(apis["ours"].headers))
        reports = json.loads(connections["ours"].getresponse().read())
        if len(reports) != _MINUTES:
            raise RuntimeError(f"{len(reports)} reports of a day, and not {_MINUTES}")
        apis["a deque"] = running.enter_context(plain_api(folder, reports))
        connections["a deque"] = running.enter_context(closing(http.client.HTTPConnection(apis["a deque"].netloc)))
        days = in_turn(
            {name: partial(ask, connections[name], day, place.headers) for name, place in apis.items()}, asked.runs
        )
        again = in_turn(
            {name: partial(ask, connections[name], day, knowing(place, days[name][0])) for name, place in apis.items()},
            asked.runs,
        )
        single = in_turn(
            {name: partial(ask, connections[name], newest, place.headers) for name, place in apis.items()}, asked.runs
        )
        many = in_turn({name: partial(at_once, place, newest) for name, place in apis.items()}, 5)
    rows = []
    for other in [name for name in apis if name != "ours"]:
        for title, found in (
            ("GET /reports of a day", days),
            ("GET /reports of a day, asked again", again),
            ("GET /report", single),
            (f"GET /report by {_VIEWERS} viewers at once", many),
        ):
            ours, baseline = ([run.ms for run in found[name]] for name in ("ours", other))
            rows.append(Row.of(title, "ms", ours, baseline, against=other, bar=None))
        for title, found in (("GET /reports of a day", days), ("GET /reports of a day, asked again", again)):
            ours, baseline = ([run.size / 1000 for run in found[name]] for name in ("ours", other))
            rows.append(Row.of(title, "kB", ours, baseline, against=other, bar=None))
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
