"""What ``etar verify --repair`` does: the auditor for records, Airflow's reconciling DAG for minutes; the latter does
``etar report --range``, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from etar.clients import report_store_connection
from etar.errors import PermanentError, TransientError
from etar.minute import MinuteWindow
from etar.progress import Told, say_nothing
from etar.settings import ReconcileSettings, ReportStoreSettings, get_settings
from etar.streams import Stream
from etar.verify.compare import RECONCILING_DAG, again
from stack.parts import Stack, airflow
from stack.waiting import wait_until

Say = Callable[[str], None]

_LONGEST_RUN = 900.0
"""Seconds for one run: it waits for the one at work, which may take ten minutes."""


class AirflowUnavailableError(ConnectionError):
    """Airflow does not take the run, or does not say what became of it."""


class AuditFailedError(RuntimeError):
    """The auditor could not do its work."""


class Airflow:
    """A stack's Airflow, through its REST API: a command of Airflow's own takes seconds to start, at every look."""

    def __init__(self, stack: Stack) -> None:
        self._url = f"http://127.0.0.1:{stack.settings.port('AIRFLOW')}"
        self._login = {"username": airflow.ADMIN, "password": stack.settings["ETAR_STACK_AIRFLOW_ADMIN_PASSWORD"]}
        self._client = httpx.Client(base_url=self._url, timeout=30)

    def __enter__(self) -> Self:
        token = self._ask("POST", "/auth/token", self._login)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def run(self, dag: str, configuration: dict[str, Any]) -> str:
        """Have a DAG run once, and return when the run has ended: how, in Airflow's word (``success``, ``failed``).

        Raises:
            AirflowUnavailableError: Airflow is away, or refuses.
            TimeoutError: the run has not ended after a quarter of an hour.
        """
        asked = {"logical_date": None, "conf": configuration, "note": "asked for by the etar command"}
        run = self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", asked)["dag_run_id"]
        where = f"/api/v2/dags/{dag}/dagRuns/{run}"
        wait_until(
            lambda: self._ask("GET", where)["state"] not in ("queued", "running"),
            timeout=_LONGEST_RUN,
            what=f"Airflow's run {run} of {dag} to end",
            interval=2,
        )
        return str(self._ask("GET", where)["state"])

    def dag(self, name: str) -> dict[str, Any] | None:
        """What Airflow says of a DAG (``is_paused``, ``is_stale``, …); None: it has none of this name.

        Raises:
            AirflowUnavailableError: Airflow is away, or refuses.
        """
        found = self._ask("GET", f"/api/v2/dags?dag_id_pattern={name}&exclude_stale=false&limit=100")["dags"]
        return next((dict(each) for each in found if each["dag_id"] == name), None)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise AirflowUnavailableError(
                f"Airflow at {self._url} does not do it: {error}; `etar status` shows whether it runs"
            ) from error
        return dict(answer)


def audit_again(
    suspect_from: Mapping[int, int],
    say: Say,
    *,
    stream: Stream,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Have the auditor look at every record from these offsets on, ``{partition: offset}``, also at closed ones.

    What it cannot repair is said; all else is done, and the account shows what is left.

    Raises:
        AuditFailedError: a part that it needs is away.
    """
    import psycopg

    from etar.audit.auditor import LostRecordsError, NotRepairedError
    from etar.audit.reopening import closed_up_to, held_from, reopen
    from etar.audit.run import run_audit
    from etar.kafka.offsets import first_held

    try:
        with closing(report_store_connection(get_settings(ReportStoreSettings))) as connection:
            reopen(connection, stream, held_from(connection, stream, suspect_from, first_held(stream)))
            # A pass is bounded: on until one closes nothing more. Every pass fails while a loss is not taken note of.
            while True:
                before, left = closed_up_to(connection, stream), ""
                try:
                    if (result := run_audit(stream, connection=connection, now=now)).minutes:
                        say(f"audit: {result}")
                except (LostRecordsError, NotRepairedError) as error:
                    left = str(error)
                if closed_up_to(connection, stream) == before:
                    break
        if left:
            say(f"audit: {left}")
    except (ConnectionError, psycopg.Error, PermanentError, TransientError) as error:
        raise AuditFailedError(f"the auditor stopped: {error}") from error


def report_minutes_again(
    windows: Sequence[MinuteWindow], stack: Stack, say: Say, *, stream: Stream, told: Told = say_nothing
) -> bool:
    """Have Airflow report the stream's minutes again, batch by batch, each with one Spark, and wait for it. Whether all
    runs ended well; one that did not keeps no other from its turn. ``told``: how many minutes are done.

    Raises:
        AirflowUnavailableError: Airflow is away, or refuses.
        TimeoutError: a run has not ended after a quarter of an hour.
    """
    states = set[str]()
    done = 0
    with Airflow(stack) as scheduler:
        for batch in _batches(windows):
            told(done, len(windows), f"{done:,} of {len(windows):,} minutes, at work on {batch[0]} to {batch[-1]}")
            state = scheduler.run(RECONCILING_DAG, again(stream, batch))
            say(f"{batch[0]} to {batch[-1]}, {len(batch)} minutes reported again: {state}")
            states.add(state)
            done += len(batch)
    return states <= {"success"}


def _batches(windows: Sequence[MinuteWindow]) -> Iterator[Sequence[MinuteWindow]]:
    size = get_settings(ReconcileSettings).batch_minutes
    for at in range(0, len(windows), size):
        yield windows[at : at + size]
