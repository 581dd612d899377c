"""Kafka Connect with the official ClickHouse sink, in place of the native sink: two workers in one group."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from etar.streams import Stream
from stack import jvm
from stack.configuration import SettingsError
from stack.layout import BUILD, REPOSITORY, VENV_BIN
from stack.parts.base import Part, Stack, Step, answers, get, write_if_changed
from stack.parts.kafka import topic_of
from stack.parts.warehouse import table_of

PLUGINS = REPOSITORY / "connect" / "plugins"
CONVERTER = BUILD / "jars" / "connect-plugins"
SINK_CLASS = "com.clickhouse.kafka.connect.ClickHouseSinkConnector"

_JARS = BUILD / "jars" / "connect"
_JAVA = (
    "-Xmx512m",
    *jvm.STARTS_FAST,
    # At "info" a worker's log holds whole configurations; what went wrong is at "warn" and above.
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)
_REFERRED_TO = ("ETAR_WAREHOUSE_PASSWORD",)


def runs(stack: Stack) -> bool:
    """Whether this stack's sink is Kafka Connect."""
    return stack.settings.shape("SINK") == "connect"


def has_sink(folder: Path) -> bool:
    """Whether a jar in ``folder``, however deep, is the official connector."""
    entry = f"{SINK_CLASS.replace('.', '/')}.class"
    for jar in folder.rglob("*.jar"):
        try:
            with zipfile.ZipFile(jar) as archive:
                if entry in archive.namelist():
                    return True
        except zipfile.BadZipFile:
            continue
    return False


def worker_properties(stack: Stack, port: int, plugins: Sequence[Path]) -> dict[str, str]:
    """A worker's own configuration; it holds no secret, only where they are."""
    copies = stack.settings.shape("BROKERS")
    converter = "org.apache.kafka.connect.converters.ByteArrayConverter"
    return {
        "bootstrap.servers": stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": "etar-connect",
        "config.storage.topic": "etar_connect_configs",
        "offset.storage.topic": "etar_connect_offsets",
        "status.storage.topic": "etar_connect_status",
        "config.storage.replication.factor": copies,
        "offset.storage.replication.factor": copies,
        "status.storage.replication.factor": copies,
        "offset.storage.partitions": "1",
        "status.storage.partitions": "1",
        "key.converter": converter,
        "value.converter": converter,
        "listeners": f"http://127.0.0.1:{port}",
        "rest.advertised.host.name": "127.0.0.1",
        "rest.advertised.port": str(port),
        "plugin.path": ",".join(str(folder) for folder in plugins),
        "config.providers": "directory",
        "config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
        "config.providers.directory.param.allowed.paths": stack.settings["ETAR_CONNECT_SECRETS_FOLDER"],
        # A minute is settled when the sink has committed past it: by default that would take up to a minute more.
        "offset.flush.interval.ms": "1000",
        # What a worker that is killed worked on goes on elsewhere after these two; by default the second is 5 minutes.
        "session.timeout.ms": "10000",
        "scheduled.rebalance.max.delay.ms": "10000",
        "connector.client.config.override.policy": "All",
    }


def command(properties_file: Path) -> list[str]:
    """A worker in distributed mode."""
    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    return ["java", *_JAVA, *jvm.CONNECT.reading(), "-cp", f"{_JARS}/*", main, str(properties_file)]


def write_properties(file: Path, properties: Mapping[str, str]) -> None:
    write_if_changed(file, "".join(f"{name}={value}\n" for name, value in properties.items()))


def write_secrets(stack: Stack) -> None:
    """What the connectors' references stand for, one file each, private to the owner as the stack's settings are."""
    folder = Path(stack.settings["ETAR_CONNECT_SECRETS_FOLDER"])
    for name in _REFERRED_TO:
        write_if_changed(folder / name.lower(), stack.settings[name])


def _require(stack: Stack) -> None:
    if not _JARS.is_dir() or not CONVERTER.is_dir():
        raise SettingsError(
            "SINK=connect: the jars of Kafka Connect are not there; ETAR_STACK_SINK=connect stack/setup.sh fetches them"
        )
    if not has_sink(PLUGINS):
        raise SettingsError(
            f"SINK=connect: no jar in {PLUGINS} holds the official ClickHouse sink ({SINK_CLASS}). Download "
            "clickhouse-kafka-connect-v1.5.0.zip from the releases of github.com/ClickHouse/clickhouse-kafka-connect "
            f"and unpack it there: unzip clickhouse-kafka-connect-v1.5.0.zip -d {PLUGINS}"
        )
    _require_landings(stack)


def _require_landings(stack: Stack) -> None:
    from etar.bootstrap.landing import NoLandingError, require_landing
    from etar.bootstrap.migrations import MigrationError

    for stream in stack.streams:
        try:
            require_landing(stream)
        except NoLandingError as error:
            raise SettingsError(f"SINK=connect: {error}") from error
        except MigrationError:
            continue  # told of its stream alone, when its table is made


def _sinks_run(stack: Stack, port: int) -> bool:
    for stream in stack.streams:
        status = get(f"http://127.0.0.1:{port}/connectors/{stream.connector}/status", timeout=5).json()
        states = [status["connector"]["state"], *(task["state"] for task in status["tasks"])]
        if len(states) <= 1 or set(states) != {"RUNNING"}:
            return False
    return True


def _register(stack: Stack) -> None:
    done = subprocess.run(
        [str(VENV_BIN / "etar"), "connect", "apply", "--yes"],
        env=stack.base_environment | {"ETAR_DIR": str(stack.layout.root)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())


def _worker(name: str, port: str, *, needs: tuple[str, ...]) -> Part:
    def properties_file(stack: Stack) -> Path:
        return stack.layout.data(name) / "worker.properties"

    def prepare(stack: Stack) -> None:
        write_secrets(stack)
        properties = worker_properties(stack, stack.settings.port(port), [PLUGINS, CONVERTER])
        write_properties(properties_file(stack), properties)

    return Part(
        name=name,
        needs=needs,
        prepare=prepare,
        command=lambda stack: command(properties_file(stack)),
        ready=lambda stack: answers(f"http://127.0.0.1:{stack.settings.port(port)}/connectors"),
        address=lambda stack: f"http://127.0.0.1:{stack.settings.port(port)}",
        # A worker commits what its tasks have inserted and leaves the group.
        stop_seconds=30,
        enabled=runs,
        require=_require,
    )


def workers(streams: Sequence[Stream]) -> tuple[Part, Part]:
    """The two workers, which share the sinks of all streams."""
    places = tuple(name for stream in streams for name in (topic_of(stream), table_of(stream)))
    first = _worker("connect", "CONNECT", needs=(*places, "compatibility"))
    # The first worker answers before there is a connector. The second comes after it, and is ready when the sinks run.
    second = replace(
        _worker("connect-2", "CONNECT_2", needs=("connector",)),
        ready=lambda stack: _sinks_run(stack, stack.settings.port("CONNECT_2")),
    )
    return first, second


CONNECTOR = Step(name="connector", needs=("connect",), action=_register, enabled=runs)
# Starts failed tasks again, which no worker does. Ready when there is nothing for it to do.
WATCH = Part(
    name="connect-watch",
    needs=("connector",),
    command=lambda _: [sys.executable, "-m", "connect.watch"],
    environment=lambda stack: stack.settings.starting_with("ETAR_CONNECT_"),
    ready=lambda stack: _sinks_run(stack, stack.settings.port("CONNECT")),
    enabled=runs,
)
