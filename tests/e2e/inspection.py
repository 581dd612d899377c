"""What can be seen of a running stack from outside: where it listens, what its processes show, Airflow's database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from stack.parts import parts_of
from stack.supervision import ProcessState, Supervisor
from stack.waiting import wait_until
from tests.e2e.conftest import WELL_WITHIN, Etar

if TYPE_CHECKING:
    import psycopg

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def processes(etar: Etar) -> list[psutil.Process]:
    """Every process of the stack's parts, once each part has one."""
    names = {part.name for part in parts_of(etar.stack)}
    states: dict[str, ProcessState] = {}

    def all_started() -> bool:
        # Asked of the supervisor: a busy part that is slow to say how it is listens all the same.
        states.update(Supervisor(etar.stack).states())
        return names <= {name for name, state in states.items() if state.pid}

    wait_until(all_started, timeout=WELL_WITHIN, what="a process of every part", interval=1)
    members: list[psutil.Process] = []
    for state in states.values():
        with suppress(psutil.NoSuchProcess):
            part = psutil.Process(state.pid)
            members += [part, *part.children(recursive=True)]
    return members


def listening(members: Iterable[psutil.Process]) -> set[str]:
    """Addresses that the processes listen on; one that has ended in the meantime listens on none."""
    addresses = set()
    for member in members:
        try:
            connections = member.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        addresses |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return addresses


def shown_secrets(etar: Etar) -> list[str]:
    """Secrets of the stack's settings that the process list or a log of the stack shows, and where."""
    values = etar.stack.settings.values
    secrets = {name: v for name, v in values.items() if name.endswith(("PASSWORD", "TOKEN", "SECRET", "_KEY"))}
    assert len(secrets) >= 10
    places = {"process list": " ".join(" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))}
    logs = dict(logs_in(etar.folder))
    assert logs
    places |= logs
    return [
        f"{name} in {place}" for name, secret in secrets.items() for place, text in places.items() if secret in text
    ]


def logs_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the logs. What goes away meanwhile, as Spark's folders do, is passed over."""
    for place, _, names in os.walk(folder):
        for name in names:
            # Spark's executors call theirs stdout and stderr.
            if name.endswith(".log") or name in ("stdout", "stderr"):
                log = Path(place, name)
                with suppress(FileNotFoundError):
                    yield str(log), log.read_text(errors="replace")


@contextmanager
def airflow_api(etar: Etar) -> Iterator[httpx.Client]:
    """Airflow's REST API, as its administrator."""
    settings = etar.stack.settings
    login = {"username": "admin", "password": settings["ETAR_STACK_AIRFLOW_ADMIN_PASSWORD"]}
    # One worker serves it, which on a busy machine takes its time.
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port('AIRFLOW')}", timeout=60) as api:
        token = api.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        yield api


def state_of_run(api: httpx.Client, dag: str, run: str) -> str | None:
    """Airflow's word for it; None when the API is not able to say."""
    try:
        answer = api.get(f"/api/v2/dags/{dag}/dagRuns/{run}")
    except httpx.TransportError:
        return None
    return None if answer.is_server_error else str(answer.raise_for_status().json()["state"])


@contextmanager
def airflow_database(etar: Etar) -> Iterator[psycopg.Connection]:
    """Airflow's database, as Airflow's own user."""
    import psycopg

    settings = etar.stack.settings
    with psycopg.connect(
        host="127.0.0.1",
        port=settings.port("POSTGRES"),
        dbname="airflow",
        user="airflow",
        password=settings["ETAR_STACK_AIRFLOW_DATABASE_PASSWORD"],
    ) as connection:
        yield connection
