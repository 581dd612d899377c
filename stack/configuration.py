"""The settings of one native stack: ports, generated secrets and the ``ETAR_*`` variables that every part reads.

They live in one file, ``settings.env`` in the stack's folder, readable by its owner only. A port, a shape or a tunable
value comes from the environment of ``etar up``, else from that file, else from here; what results is written back, so
that every later command sees what the running stack was started with.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from etar.settings import Concern

_Concern = TypeVar("_Concern", bound=Concern)

PORTS = {
    "ETAR_PORT_AIRFLOW": 8080,
    "ETAR_PORT_DASHBOARD": 8501,
    "ETAR_PORT_API": 8000,
    "ETAR_PORT_KAFKA": 9092,
    "ETAR_PORT_KAFKA_CONTROLLER": 9093,
    "ETAR_PORT_REGISTRY": 8081,
    "ETAR_PORT_WAREHOUSE": 8123,
    "ETAR_PORT_S3": 7070,
    "ETAR_PORT_POSTGRES": 5433,
    "ETAR_PORT_KAFKA_2": 9094,
    "ETAR_PORT_KAFKA_CONTROLLER_2": 9095,
    "ETAR_PORT_KAFKA_3": 9096,
    "ETAR_PORT_KAFKA_CONTROLLER_3": 9097,
    "ETAR_PORT_CONNECT": 8083,
    "ETAR_PORT_CONNECT_2": 8084,
    "ETAR_PORT_REDIS": 6380,
    "ETAR_PORT_SPARK": 8085,
    "ETAR_PORT_SPARK_MASTER": 7077,
    "ETAR_PORT_SPARK_WORKER": 7078,
    "ETAR_PORT_SPARK_UI": 8082,
}
"""Every port a stack may listen on. ``ETAR_PORT_OFFSET`` moves all that are not set on their own."""

SHAPE = {
    "ETAR_STACK_SINK": ("native", "connect"),
    "ETAR_STACK_EXECUTOR": ("local", "celery"),
    "ETAR_STACK_SPARK": ("resident", "local", "standalone"),
    "ETAR_STACK_BROKERS": ("1", "3"),
}
"""What a native stack is made of, and what else it can be made of; the first of each is what a laptop wants."""

_ONLY_WHERE = {
    "ETAR_PORT_KAFKA_2": ("BROKERS", "3"),
    "ETAR_PORT_KAFKA_CONTROLLER_2": ("BROKERS", "3"),
    "ETAR_PORT_KAFKA_3": ("BROKERS", "3"),
    "ETAR_PORT_KAFKA_CONTROLLER_3": ("BROKERS", "3"),
    "ETAR_PORT_CONNECT": ("SINK", "connect"),
    "ETAR_PORT_CONNECT_2": ("SINK", "connect"),
    "ETAR_PORT_REDIS": ("EXECUTOR", "celery"),
    "ETAR_PORT_SPARK": ("SPARK", "resident"),
    "ETAR_PORT_SPARK_MASTER": ("SPARK", "standalone"),
    "ETAR_PORT_SPARK_WORKER": ("SPARK", "standalone"),
    "ETAR_PORT_SPARK_UI": ("SPARK", "standalone"),
}

_BROKER_PORTS = ("ETAR_PORT_KAFKA", "ETAR_PORT_KAFKA_2", "ETAR_PORT_KAFKA_3")

LINK_OFFSET = "ETAR_STACK_LINK_OFFSET"
START_SECONDS = "ETAR_STACK_START_SECONDS"
SCHEDULER_PAUSE = "ETAR_STACK_SCHEDULER_PAUSE_SECONDS"
_PAUSE_SECONDS = "1"
DEMO_RATE = "50"
"""Made-up events a second of the default stream, where nothing else is said."""

TUNABLE = (
    "ETAR_STREAMS",
    "ETAR_PIPELINE_",
    "ETAR_RECONCILE_",
    "ETAR_DEAD_LETTERS_",
    "ETAR_SINK_",
    "ETAR_JOBS_",
    "ETAR_CONNECT_TASKS",
    "ETAR_CONNECT_WAIT_SECONDS",
    "ETAR_DASHBOARD_",
    "ETAR_ALERTS_",
    "ETAR_DEMO_",
    "ETAR_API_MAX_",
    START_SECONDS,
    SCHEDULER_PAUSE,
)
"""Settings that a person may change: passed on from the environment or the file; the defaults are the parts' own."""

SECRETS = (
    "ETAR_WAREHOUSE_PASSWORD",
    "ETAR_S3_SECRET_ACCESS_KEY",
    "ETAR_STACK_S3_ROOT_SECRET",
    "ETAR_STACK_SPARK_S3_SECRET",
    "ETAR_STACK_READER_WAREHOUSE_PASSWORD",
    "ETAR_STACK_READER_S3_SECRET",
    "ETAR_REPORT_STORE_PASSWORD",
    "ETAR_API_READ_TOKEN",
    "ETAR_API_WRITE_TOKEN",
    "ETAR_STACK_POSTGRES_PASSWORD",
    "ETAR_STACK_AIRFLOW_DATABASE_PASSWORD",
    "ETAR_STACK_AIRFLOW_ADMIN_PASSWORD",
    "ETAR_STACK_AIRFLOW_JWT_SECRET",
    "ETAR_STACK_AIRFLOW_SECRET_KEY",
    "ETAR_STACK_REDIS_PASSWORD",
    "ETAR_STACK_SPARK_SECRET",
    "ETAR_STACK_SPARK_TOKEN",
)
"""Generated once for each stack. ``ETAR_STACK_*`` are the native stack's own; no part of etar reads them."""


class SettingsError(Exception):
    """The stack's settings are missing or do not make sense; the message says what to do."""


class PortTakenError(Exception):
    """A port the stack needs is in use; the message names the port, the part and the variable that moves it."""


@dataclass(frozen=True)
class Settings:
    """The finished settings of one stack."""

    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def port(self, name: str) -> int:
        """Port by the short name of its variable: ``port("KAFKA")``."""
        return int(self.values[f"ETAR_PORT_{name}"])

    def link(self, name: str) -> int:
        """Port at which other parts reach the part that listens on ``port(name)``.

        The same, unless ``ETAR_STACK_LINK_OFFSET`` puts something in between: the tests' proxies, which cut and slow
        the links between parts.
        """
        return self.port(name) + int(self.values[LINK_OFFSET])

    @property
    def scheduler_pause(self) -> float:
        """Seconds between two looks of Airflow's scheduler at what can run, when there was nothing."""
        # A stack that an older etar made does not say.
        return float(self.values.get(SCHEDULER_PAUSE, _PAUSE_SECONDS))

    @property
    def start_seconds(self) -> int:
        """How long a part that starts may do nothing, and how much processor time it may use up."""
        return int(self.values[START_SECONDS])

    def shape(self, name: str) -> str:
        """What this stack has of something there is a choice of, by its variable's short name: ``shape("SINK")``."""
        variable = f"ETAR_STACK_{name}"
        # A stack that an older etar made does not say.
        return self.values.get(variable, SHAPE[variable][0])

    def of(self, kind: type[_Concern]) -> _Concern:
        """The settings of one concern, as the class that the parts read them with."""
        return kind.of(self.values)

    def starting_with(self, *prefixes: str) -> dict[str, str]:
        """The variables a part is given: those of the concerns it deals with and no others."""
        return {name: value for name, value in self.values.items() if name.startswith(prefixes)}


def make_settings(
    environment: Mapping[str, str], saved: Mapping[str, str], now: datetime, *, folder: Path = Path(".etar")
) -> Settings:
    """Settings from the caller's environment, the saved file and the defaults, in this order of precedence.

    Args:
        folder: the stack's own, for the settings that are places in it.

    Raises:
        SettingsError: a port is not a number between 1 and 65535, two parts were given the same one, or a part of the
            stack's shape is unknown.
    """

    values = _ports(environment, saved)
    values[LINK_OFFSET] = environment.get(LINK_OFFSET) or saved.get(LINK_OFFSET) or "0"
    link = {name: str(int(values[name]) + _number(LINK_OFFSET, values[LINK_OFFSET])) for name in PORTS}
    values["ETAR_DEMO_RATE"] = DEMO_RATE
    values[START_SECONDS] = "180"
    values[SCHEDULER_PAUSE] = _PAUSE_SECONDS
    values |= {
        name: value for given in (saved, environment) for name, value in given.items() if name.startswith(TUNABLE)
    }
    if _number(START_SECONDS, values[START_SECONDS]) < 1:
        raise SettingsError(f"{START_SECONDS}={values[START_SECONDS]} is no time to start in; give seconds, like 180")
    if not 0.1 <= _decimal(SCHEDULER_PAUSE, values[SCHEDULER_PAUSE]) <= 10:
        raise SettingsError(f"{SCHEDULER_PAUSE}={values[SCHEDULER_PAUSE]} is not between 0.1 and 10 seconds")
    # Secrets are never taken from the caller's environment: it may be that of another stack (`etar exec`).
    values |= {name: saved.get(name) or secrets.token_hex(20) for name in SECRETS}
    values |= {name: _one_of(name, environment.get(name) or saved.get(name), known) for name, known in SHAPE.items()}
    values["ETAR_STACK_AIRFLOW_FERNET_KEY"] = saved.get("ETAR_STACK_AIRFLOW_FERNET_KEY") or _fernet_key()
    values["ETAR_STACK_KAFKA_CLUSTER_ID"] = saved.get("ETAR_STACK_KAFKA_CLUSTER_ID") or _kafka_cluster_id()
    values.setdefault("ETAR_PIPELINE_START_DATE", now.astimezone(UTC).replace(second=0, microsecond=0).isoformat())
    values |= {
        "ETAR_KAFKA_BOOTSTRAP_SERVERS": ",".join(
            f"127.0.0.1:{link[name]}" for name in _BROKER_PORTS[: int(values["ETAR_STACK_BROKERS"])]
        ),
        "ETAR_REGISTRY_URL": f"http://127.0.0.1:{link['ETAR_PORT_REGISTRY']}/apis/ccompat/v7",
        "ETAR_CONNECT_URL": f"http://127.0.0.1:{values['ETAR_PORT_CONNECT']}",
        "ETAR_CONNECT_CONVERTER": "io.apicurio.registry.utils.converter.AvroConverter",
        "ETAR_CONNECT_REGISTRY_URL": f"http://127.0.0.1:{link['ETAR_PORT_REGISTRY']}/apis/registry/v2",
        "ETAR_CONNECT_SECRETS_FOLDER": str(folder.absolute() / "data" / "connect-secrets"),
        "ETAR_CONNECT_REPLICATION_FACTOR": values["ETAR_STACK_BROKERS"],
        "ETAR_WAREHOUSE_HOST": "127.0.0.1",
        "ETAR_WAREHOUSE_PORT": link["ETAR_PORT_WAREHOUSE"],
        "ETAR_WAREHOUSE_SECURE": "false",
        "ETAR_WAREHOUSE_DATABASE": "etar",
        "ETAR_WAREHOUSE_USER": "etar",
        "ETAR_S3_ENDPOINT_URL": f"http://127.0.0.1:{link['ETAR_PORT_S3']}",
        "ETAR_S3_REGION": "us-east-1",
        "ETAR_S3_BUCKET": "etar",
        "ETAR_S3_ACCESS_KEY_ID": "etar",
        "ETAR_REPORT_STORE_HOST": "127.0.0.1",
        "ETAR_REPORT_STORE_PORT": link["ETAR_PORT_POSTGRES"],
        "ETAR_REPORT_STORE_DATABASE": "etar",
        "ETAR_REPORT_STORE_USER": "etar",
        "ETAR_API_URL": f"http://127.0.0.1:{link['ETAR_PORT_API']}",
    }
    return Settings(values)


def _ports(environment: Mapping[str, str], saved: Mapping[str, str]) -> dict[str, str]:
    offset = environment.get("ETAR_PORT_OFFSET")
    values: dict[str, str] = {}
    for name, default in PORTS.items():
        # An offset given now is about every port that is not itself given now; the file's are an earlier answer.
        kept = None if offset else saved.get(name)
        text = environment.get(name) or kept or str(default + _number("ETAR_PORT_OFFSET", offset or "0"))
        if not 1 <= _number(name, text) <= 65535:
            raise SettingsError(f"{name}={text} is not a port; give a number between 1 and 65535")
        values[name] = text
    for name, port in values.items():
        other = next((o for o, p in values.items() if p == port and o != name), None)
        if other:
            raise SettingsError(f"{name} and {other} are both {port}; give each part a port of its own")
    return values


def _one_of(name: str, text: str | None, known: tuple[str, ...]) -> str:
    if text and text not in known:
        raise SettingsError(f"{name}={text!r} is not one of {', '.join(known)}")
    return text or known[0]


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number") from None


def _decimal(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number") from None


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _kafka_cluster_id() -> str:
    """A random UUID as Kafka writes it: base64, no padding, and no leading dash, which its tools take for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def read_settings(file: Path) -> Settings:
    """The saved settings of a stack.

    Raises:
        SettingsError: there is no such stack yet.
    """
    values = _read_file(file)
    if not values:
        raise SettingsError(f"there is no stack in {file.parent} yet; `make up DIR={file.parent}` makes one")
    return Settings(values)


def prepare_settings(
    file: Path, environment: Mapping[str, str], now: datetime, *, accept: Callable[[Settings], None] = lambda _: None
) -> Settings:
    """Make the settings of a stack that is about to start, and save them, unless ``accept`` raises."""
    settings = make_settings(environment, _read_file(file), now, folder=file.parent)
    accept(settings)
    lines = [
        "# Settings of this etar stack, written by `etar up`. What each means is in .env.example; which may be changed",
        "# here (of a stopped stack) or in the environment of `etar up` (which wins), is in docs/operations.md. Holds",
        "# secrets.",
        *(f"{name}={value}" for name, value in sorted(settings.values.items())),
    ]
    # Written whole under another name first: a crash in between must not lose the generated secrets.
    draft = file.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write("\n".join(lines) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    return settings


def _read_file(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    pairs = (line.split("=", 1) for line in file.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def check_ports_free(settings: Settings) -> None:
    """Refuse to start when something else listens on one of the stack's ports.

    Raises:
        PortTakenError: the first port found taken.
    """
    for name in PORTS:
        if name in _ONLY_WHERE and settings.shape(_ONLY_WHERE[name][0]) != _ONLY_WHERE[name][1]:
            continue
        port = int(settings[name])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                part = name.removeprefix("ETAR_PORT_").lower().replace("_", " ")
                raise PortTakenError(
                    f"port {port}, wanted for {part}, is taken ({error.strerror}). Stop what uses it, or choose "
                    f"another: {name}=… make up (or ETAR_PORT_OFFSET=1000 make up to move all)"
                ) from error
