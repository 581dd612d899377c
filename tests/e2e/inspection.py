"""What can be seen of a running stack from outside: where it listens, what its processes show, Airflow's database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from stack.lifecycle import enabled_parts
from stack.supervision import Supervisor
from tests.e2e.conftest import Etar

if TYPE_CHECKING:
    import psycopg

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def processes(etar: Etar) -> list[psutil.Process]:
    """Every process of the stack's parts."""
    # Asked of the supervisor: a busy part that is slow to say how it is listens all the same.
    states = Supervisor(etar.stack).states()
    assert {part.name for part in enabled_parts(etar.stack)} <= {name for name, state in states.items() if state.pid}
    parts = [psutil.Process(state.pid) for state in states.values()]
    return [member for part in parts for member in (part, *part.children(recursive=True))]


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
    # Spark's executors call theirs stdout and stderr.
    logs = [path for name in ("*.log", "stdout", "stderr") for path in etar.folder.rglob(name) if path.is_file()]
    assert logs
    places |= {str(log): log.read_text(errors="replace") for log in logs}
    return [
        f"{name} in {place}" for name, secret in secrets.items() for place, text in places.items() if secret in text
    ]


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
