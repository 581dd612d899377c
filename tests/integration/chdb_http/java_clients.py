"""ClickHouse's Java clients, driven from here: a JVM with their jars, and both behind one shape."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from stack.layout import REPOSITORY
from tests.integration.chdb_http.conftest import PASSWORD, USER

JARS = REPOSITORY / ".build" / "jars"
CLIENT_NAME = "clickhouse-kafka-connect/1.5.0"
TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Compression:
    """``requests``: what the client sends is compressed; ``answers``: it asks for compressed ones.

    ``http`` instead of ClickHouse's native blocks: Content-Encoding and Accept-Encoding.
    """

    requests: bool = False
    answers: bool = True
    http: bool = False


DEFAULT = Compression()
"""The clients' own default, which is what the sink uses."""


@contextlib.contextmanager
def java_gateway(release: str) -> Iterator[JavaGateway]:
    """A JVM with the jars of ``.build/jars/RELEASE``, on loopback and with a token; it ends with the block."""
    (bridge,) = (Path(pyspark.__file__).parent / "jars").glob("py4j-*.jar")
    jars = JARS / release
    assert jars.is_dir(), f"{jars} is not there: run `make setup-dev`"
    port, token, process = launch_gateway(
        classpath=f"{jars}/*",
        jarpath=str(bridge),
        javaopts=["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
        die_on_exit=True,
        enable_auth=True,
        return_proc=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token, auto_convert=True))
    try:
        yield gateway
    finally:
        gateway.shutdown()
        process.kill()
        process.wait()


class JavaClient(Protocol):
    """What both generations do, as the sink calls them."""

    def ping(self) -> bool: ...

    def query(self, sql: str, format: str | None = None, **settings: str) -> bytes: ...

    def save(self, sql: str, format: str, target: Path) -> int:
        """The answer goes to a file; returns its size."""

    def insert(self, data: Any, format: str = "RowBinary", **settings: str) -> int:
        """``data`` is bytes or a Java InputStream, for the table ``etar.t``; returns the rows that were written."""


@dataclass
class _Java:
    gateway: JavaGateway
    url: str
    compression: Compression = DEFAULT
    password: str = PASSWORD

    @property
    def jvm(self) -> Any:
        return self.gateway.jvm

    def format(self, name: str) -> Any:
        return getattr(self.jvm.com.clickhouse.data.ClickHouseFormat, name)

    def stream(self, data: Any) -> Any:
        return self.jvm.java.io.ByteArrayInputStream(data) if isinstance(data, bytes) else data

    def to_file(self, stream: Any, target: Path) -> int:
        path = self.jvm.java.io.File(str(target)).toPath()
        options = self.gateway.new_array(self.jvm.java.nio.file.CopyOption, 0)
        return int(self.jvm.java.nio.file.Files.copy(stream, path, options))


@dataclass
class V2(_Java):
    """com.clickhouse:client-v2, made as the sink makes it."""

    _client: Any = field(init=False)

    def __post_init__(self) -> None:
        builder = (
            self.jvm.com.clickhouse.client.api.Client.Builder()
            .addEndpoint(f"{self.url}/etar")
            .setUsername(USER)
            .setPassword(self.password)
            .setClientName(CLIENT_NAME)
            .setDefaultDatabase("etar")
        )
        if self.compression != DEFAULT:
            builder = (
                builder.compressClientRequest(self.compression.requests)
                .compressServerResponse(self.compression.answers)
                .useHttpCompression(self.compression.http)
            )
        self._client = builder.build()

    def ping(self) -> bool:
        return bool(self._client.ping(TIMEOUT_MS))

    def query(self, sql: str, format: str | None = None, **settings: str) -> bytes:
        with contextlib.closing(self._ask(sql, format, settings)) as answer:
            return bytes(answer.getInputStream().readAllBytes())

    def save(self, sql: str, format: str, target: Path) -> int:
        with contextlib.closing(self._ask(sql, format, {})) as answer:
            return self.to_file(answer.getInputStream(), target)

    def _ask(self, sql: str, format: str | None, settings: dict[str, str]) -> Any:
        asked = self.jvm.com.clickhouse.client.api.query.QuerySettings()
        if format is not None:
            asked.setFormat(self.format(format))
        for name, value in settings.items():
            asked.serverSetting(name, value)
        return self._client.query(sql, asked).get()

    def insert(self, data: Any, format: str = "RowBinary", **settings: str) -> int:
        asked = self.jvm.com.clickhouse.client.api.insert.InsertSettings()
        asked.setDatabase("etar")
        asked.setQueryId("insert-of-v2")
        for name, value in settings.items():
            asked.serverSetting(name, value)
        promised = self._client.insert("t", self.stream(data), self.format(format), asked)
        with contextlib.closing(promised.get()) as answer:
            return int(answer.getWrittenRows())

    def column_names(self, table: str) -> list[str]:
        """The client's own reading of DESCRIBE TABLE."""
        return [column.getColumnName() for column in self._client.getTableSchema(table).getColumns()]


@dataclass
class V1(_Java):
    """com.clickhouse:clickhouse-client over clickhouse-http-client; the sink makes a new one for each request.

    ``properties``: what the sink puts behind the address, its ``jdbcConnectionProperties``.
    """

    properties: str = ""

    def ping(self) -> bool:
        with self._client() as client:
            return bool(client.ping(self._node(), TIMEOUT_MS))

    def query(self, sql: str, format: str | None = None, **settings: str) -> bytes:
        with self._client() as client, contextlib.closing(self._ask(client, sql, format, settings)) as answer:
            return bytes(answer.getInputStream().readAllBytes())

    def save(self, sql: str, format: str, target: Path) -> int:
        with self._client() as client, contextlib.closing(self._ask(client, sql, format, {})) as answer:
            return self.to_file(answer.getInputStream(), target)

    def _ask(self, client: Any, sql: str, format: str | None, settings: dict[str, str]) -> Any:
        asked = self._options(client.read(self._node()), settings)
        if format is not None:
            asked.format(self.format(format))
        return asked.query(sql).executeAndWait()

    def insert(self, data: Any, format: str = "RowBinary", **settings: str) -> int:
        with self._client() as client:
            asked = client.read(self._node()).write().table("t", "insert-of-v1").format(self.format(format))
            with contextlib.closing(self._options(asked, settings).data(self.stream(data)).executeAndWait()) as answer:
                return int(answer.getSummary().getWrittenRows())

    def socket_timeout_ms(self) -> int:
        """How long it waits for an answer."""
        with self._client() as client:
            return int(client.read(self._node()).getConfig().getSocketTimeout())

    def _options(self, asked: Any, settings: dict[str, str]) -> Any:
        for name, value in settings.items():
            asked.set(name, value)
        if self.compression != DEFAULT:
            option = self.jvm.com.clickhouse.client.config.ClickHouseClientOption
            asked.option(option.DECOMPRESS, self.compression.requests)
            asked.option(option.COMPRESS, self.compression.answers)
            if self.compression.http:
                gzip = self.jvm.com.clickhouse.data.ClickHouseCompression.GZIP
                asked.option(option.DECOMPRESS_ALGORITHM, gzip).option(option.COMPRESS_ALGORITHM, gzip)
        return asked

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        package = self.jvm.com.clickhouse.client
        names = self.jvm.java.util.HashMap()
        names.put(package.config.ClickHouseClientOption.CLIENT_NAME, CLIENT_NAME)
        others = self.gateway.new_array(package.ClickHouseProtocol, 0)
        http = package.ClickHouseNodeSelector.of(package.ClickHouseProtocol.HTTP, others)
        with contextlib.closing(package.ClickHouseClient.builder().options(names).nodeSelector(http).build()) as client:
            yield client

    def _node(self) -> Any:
        login = {"user": USER, "password": self.password}
        return self.jvm.com.clickhouse.client.ClickHouseNode.of(f"{self.url}/etar{self.properties}", login)


def code_of(error: Py4JJavaError) -> int | None:
    """ClickHouse's error code, from whichever of the chained Java exceptions has it."""
    cause = error.java_exception
    while cause is not None:
        for getter in ("getCode", "getErrorCode"):
            if any(method.getName() == getter for method in cause.getClass().getMethods()):
                return int(getattr(cause, getter)())
        cause = cause.getCause()
    return None
