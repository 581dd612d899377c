"""The routes: one query endpoint, as ClickHouse has it, and ``/ping``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import logging
import re
import secrets
import shutil
import string
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stack.chdb_http.blocks import BlockWriter
from stack.chdb_http.config import Config
from stack.chdb_http.engine import Engine, Options, Progress, Session
from stack.chdb_http.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    QUERY_IS_TOO_LARGE,
    SESSION_NOT_FOUND,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    UNKNOWN_EXCEPTION,
    UNKNOWN_SETTING,
    FrontError,
)
from stack.chdb_http.framing import PIECE, BodyDecoder, Encoder, choose_encoding, new_encoder
from stack.chdb_http.sql import Statement, find_insert_data
from stack.chdb_http.streaming import Outgoing, piped

log = logging.getLogger("chdb_http")

T = TypeVar("T")

_KILL_AGAIN_SECONDS = 0.1

_IN_MEMORY = 64 << 10
"""Bytes of a request's body that need no file: nearly every query, unless the engine has to read it as one."""

# Parameters of the request itself, understood or of no meaning here. What is neither here nor in _REFUSED nor begins
# with param_ is a setting. Session ids are ignored: clickhouse-connect makes one up for every client.
_NOT_SETTINGS = {
    *("query", "database", "default_format", "query_id", "wait_end_of_query", "buffer_size", "stacktrace"),
    *("enable_http_compression", "compress", "decompress", "client_protocol_version", "quota_key"),
    *("session_id", "session_timeout", "close_session"),
}
_REFUSED = {
    "user": (BAD_ARGUMENTS, "credentials in the URL end up in logs; send them in headers"),
    "password": (BAD_ARGUMENTS, "credentials in the URL end up in logs; send them in headers"),
    "role": (NOT_IMPLEMENTED, "there are no roles"),
    "session_check": (SESSION_NOT_FOUND, "there are no sessions: every request has a connection of its own"),
}
_SETTING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _some_letters() -> str:
    """What nobody can guess, as ClickHouse has it: sixteen small letters."""
    return "".join(string.ascii_lowercase[byte % 26] for byte in secrets.token_bytes(16))


@dataclass
class Exchange:
    """One request and what became of it; ``Front`` fills it in on the way, the log line reads it at the end."""

    request: Request
    params: dict[str, str]
    started: float = field(default_factory=time.monotonic)
    tag: str = field(default_factory=_some_letters)
    query_id: str = ""
    sql: str = ""
    format: str | None = None
    encoding: str | None = None
    status: int = 200
    received: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        wanted = self.params.get("query_id", "")
        # It goes out in a header, where a line break would begin another one.
        self.query_id = wanted if wanted.isascii() and wanted.isprintable() and wanted else str(uuid.uuid4())

    def log_line(self) -> str:
        """What happened, on one line: no parameters, no credentials, the beginning of the statement."""
        took = (time.monotonic() - self.started) * 1000
        sql = " ".join(self.sql[:400].split())[:200]
        return (
            f"{self.request.method} {self.status} {took:.1f}ms in={self.received} out={self.sent} "
            f"query_id={self.query_id} {sql!r}"
        )


class Front:
    """The query endpoint, as an ASGI application."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._limits = config.limits
        self._user, self._password = config.user.encode(), config.password.encode()
        self._reader, self._reader_password = config.reader.encode(), config.reader_password.encode()
        self._slots = asyncio.Semaphore(config.limits.max_concurrent_queries)
        self._active: set[asyncio.Task[Any]] = set()

    async def idle(self) -> None:
        """Returns when no request is under way."""
        while self._active:
            await asyncio.wait(self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        exchange = Exchange(request, dict(request.query_params))
        if (task := asyncio.current_task()) is not None:
            self._active.add(task)
            task.add_done_callback(self._active.discard)
        try:
            await self._answer(exchange, send)
        except (ClientDisconnect, asyncio.CancelledError) as ended:
            exchange.status = 499  # nginx's number for an answer that nobody waits for, or gets
            if isinstance(ended, asyncio.CancelledError):
                raise
        except FrontError as error:
            await self._refuse(exchange, error, send)
        except Exception:
            log.exception("query_id=%s", exchange.query_id)
            await self._refuse(exchange, FrontError(UNKNOWN_EXCEPTION, "Internal error, see the front's log"), send)
        finally:
            log.info("%s", exchange.log_line())

    async def _answer(self, exchange: Exchange, send: Send) -> None:
        request, params = exchange.request, exchange.params
        if request.method == "GET" and "query" not in params:
            await PlainTextResponse("Ok.\n")(request.scope, request.receive, send)
            return
        # As in ClickHouse: a GET request is one that may be repeated, and changes nothing.
        read_only = self._is_reader(request.headers) or request.method == "GET"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._engine.spool)) as body:
            await self._read(exchange, body)
            exchange.sql, data = self._find_statement(exchange.params.get("query", ""), body)
            with data or contextlib.nullcontext():
                opened = self._session(_options(exchange, read_only=read_only), exchange.sql)
                async with self._slot(), opened as (session, statement):
                    if await request.is_disconnected():  # while it waited for its turn
                        raise ClientDisconnect
                    if data is None:
                        await self._run(exchange, session, statement, send)
                    else:
                        await self._insert(exchange, session, statement, data, send)

    @contextlib.asynccontextmanager
    async def _session(self, options: Options, sql: str) -> AsyncIterator[tuple[Session, Statement]]:
        """A session with the statement that it takes the text for. Closed where it ran, or here if it never did."""

        def begin() -> tuple[Session, Statement]:
            session = self._engine.session(options)
            try:
                return session, session.parse(sql)
            except BaseException:
                session.close()
                raise

        # In one go: to hand a call to a thread costs more than what either does there.
        beginning = asyncio.ensure_future(asyncio.to_thread(begin))
        try:
            session, statement = await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait([beginning])
            if beginning.exception() is None:
                beginning.result()[0].close()
            raise
        try:
            yield session, statement
        finally:
            if not session.closed:
                await asyncio.to_thread(session.close)

    def _is_reader(self, headers: Mapping[str, str]) -> bool:
        """Whether it is the user who may only read. Constant time: how much of a guess is right must not show.

        Raises FrontError: it is neither user.
        """
        user, password = headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key", "")
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if user is None and scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        name, secret = (user or "").encode(), password.encode()
        is_user = hmac.compare_digest(name, self._user) & hmac.compare_digest(secret, self._password)
        is_reader = hmac.compare_digest(name, self._reader) & hmac.compare_digest(secret, self._reader_password)
        # Without a password, there is no reader.
        is_reader &= bool(self._reader_password)
        if not (is_user or is_reader):
            raise FrontError(
                AUTHENTICATION_FAILED,
                "Authentication failed: password is incorrect, or there is no user with such name.",
                status=401 if user is None else 403,
            )
        return is_reader

    async def _read(self, exchange: Exchange, body: IO[bytes]) -> None:
        """The whole body of the request, decoded, into ``body``.

        All of it is here before the engine sees any of it, so that a body that is cut off, broken or too large leaves
        nothing in a table.
        """
        request = exchange.request
        if (declared := request.headers.get("content-length", "")).isdecimal():
            self._check_size(int(declared))
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            exchange.params |= await self._read_form(request)
            return
        encoding = request.headers.get("content-encoding", "").strip().lower()
        decoder = BodyDecoder(encoding, blocks=_flag(exchange.params, "decompress"))
        async for chunk in request.stream():
            exchange.received += len(chunk)
            for piece in decoder.feed(chunk):
                self._check_size(body.tell() + len(piece))
                body.write(piece)
        decoder.close()

    async def _read_form(self, request: Request) -> dict[str, str]:
        """How clickhouse-connect sends parameters that are too long for a URL."""
        async with request.form(max_part_size=self._limits.max_query_bytes) as form:
            if not all(isinstance(value, str) for value in form.values()):
                raise FrontError(NOT_IMPLEMENTED, "External tables are not supported")
            return {name: str(value) for name, value in form.items()}

    def _check_size(self, size: int) -> None:
        limit = self._limits.max_body_bytes
        if size > limit:
            raise FrontError(QUERY_IS_TOO_LARGE, f"The body is larger than {limit} bytes; nothing was inserted")

    def _find_statement(self, query: str, body: tempfile.SpooledTemporaryFile[bytes]) -> tuple[str, IO[bytes] | None]:
        """The statement, and a file of nothing but its data if it is an INSERT that brings its own.

        As in ClickHouse the query of the URL, a line break and the body are one text.
        """
        size, limit = body.tell(), self._limits.max_query_bytes
        body.seek(0)
        prefix = query.encode() + b"\n" if query else b""
        head = prefix + body.read(limit)
        found = find_insert_data(head)
        if found is None and len(prefix) + size > limit:
            raise FrontError(QUERY_IS_TOO_LARGE, f"The query is longer than {limit} bytes")
        sql, start = found or (head, b"")
        try:
            text = sql.decode().strip()
        except UnicodeDecodeError as error:
            raise FrontError(BAD_ARGUMENTS, f"The query is not valid UTF-8: {error}") from error
        if found is None:
            return text, None
        if len(head) - len(start) == len(prefix):  # the usual way: all of the body is data
            body.rollover()
            body.flush()
            return text, body
        data = tempfile.TemporaryFile(dir=self._engine.spool)  # noqa: SIM115 - the caller closes it
        data.write(start)
        shutil.copyfileobj(body, data)
        data.flush()
        return text, data

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.queue_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise FrontError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries. Maximum: {limits.max_concurrent_queries}; "
                f"none ended within {limits.queue_seconds:g} seconds",
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _insert(
        self, exchange: Exchange, session: Session, statement: Statement, data: IO[bytes], send: Send
    ) -> None:
        # A client that has gone may be sending the same again: two of them would take twice as long as one. What is in
        # by then stays, as when the engine is killed.
        progress = await self._work(exchange, session, lambda: session.insert(statement, data.fileno()))
        await self._reply(exchange, send, b"", progress=progress)

    async def _run(self, exchange: Exchange, session: Session, statement: Statement, send: Send) -> None:
        if not statement.returns_rows:
            progress = await self._work(exchange, session, lambda: session.execute(statement))
            await self._reply(exchange, send, b"", progress=progress)
            return
        params, headers = exchange.params, exchange.request.headers
        wanted = params.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
        format_ = exchange.format = statement.format or wanted
        encoder: Encoder | None = None
        if _flag(params, "compress"):
            encoder = BlockWriter()
        elif _flag(params, "enable_http_compression"):
            exchange.encoding = choose_encoding(headers.get("accept-encoding", ""))
            encoder = new_encoder(exchange.encoding) if exchange.encoding else None
        outgoing = Outgoing(
            send,
            lambda progress: self._headers(exchange, progress),
            encoder=encoder,
            wait_for_end=_flag(params, "wait_end_of_query"),
            spool=self._engine.spool,
        )

        def write(pipe: int) -> Awaitable[Progress]:
            return self._work(exchange, session, lambda: session.write_rows(statement, format_, pipe))

        try:
            async with piped(write) as (rows, outcome):
                while chunk := await rows.read(PIECE):
                    await outgoing.write(chunk)
                progress = await outcome
            await outgoing.finish(progress)
        except FrontError as error:
            if not outgoing.started:
                raise
            log.warning("query_id=%s broken off: %s", exchange.query_id, error)
            await outgoing.break_off(error, exchange.tag)
        finally:
            exchange.sent = outgoing.sent
            outgoing.close()

    async def _work(self, exchange: Exchange, session: Session, function: Callable[[], T]) -> T:
        """Run the session's statement, a blocking call, and close it; stopped once nobody waits for it any more.

        Nobody waits when the client has closed its connection (ClientDisconnect is raised then) or when this task is
        cancelled, which is how the server ends what outlasts its time to shut down.
        """

        def run() -> T:
            with session:
                return function()

        working = asyncio.get_running_loop().run_in_executor(None, run)
        watching = asyncio.create_task(_gone(exchange.request))
        try:
            waited: list[asyncio.Future[Any]] = [working, watching]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self._stop(session, working)
                raise ClientDisconnect
            return working.result()
        except asyncio.CancelledError:
            await self._stop(session, working)
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _stop(self, session: Session, working: asyncio.Future[T]) -> None:
        # Again and again: a query that has not begun yet is not there to be killed.
        while not working.done():
            await asyncio.to_thread(self._engine.kill, session.tag)
            await asyncio.wait([working], timeout=_KILL_AGAIN_SECONDS)
        working.exception()  # looked at, so that asyncio does not report it as forgotten

    def _headers(self, exchange: Exchange, progress: Progress | None = None) -> dict[str, str]:
        """Headers of every answer; the summary is among them once the statement is done."""
        found = {
            "Content-Type": "text/plain; charset=UTF-8" if exchange.format is None else "application/octet-stream",
            "X-ClickHouse-Query-Id": exchange.query_id,
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Exception-Tag": exchange.tag,
        }
        if exchange.format is not None:
            found["X-ClickHouse-Format"] = exchange.format
        if exchange.encoding is not None:
            found["Content-Encoding"] = exchange.encoding
        if progress is not None:
            summary = {name: str(value) for name, value in vars(progress).items()}
            summary["elapsed_ns"] = str(int((time.monotonic() - exchange.started) * 1e9))
            found["X-ClickHouse-Summary"] = json.dumps(summary, separators=(",", ":"))
        return found

    async def _reply(self, exchange: Exchange, send: Send, body: bytes, *, progress: Progress | None = None) -> None:
        exchange.sent = len(body)
        response = Response(body, exchange.status, self._headers(exchange, progress))
        await response(exchange.request.scope, exchange.request.receive, send)

    async def _refuse(self, exchange: Exchange, error: FrontError, send: Send) -> None:
        await self._drain(exchange)
        body = f"{error}\n".encode()
        exchange.status, exchange.sent = error.status, len(body)
        exchange.encoding = exchange.format = None
        headers = self._headers(exchange) | {"X-ClickHouse-Exception-Code": str(error.code)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="chdb_http"'
        await Response(body, error.status, headers)(exchange.request.scope, exchange.request.receive, send)

    async def _drain(self, exchange: Exchange) -> None:
        """Read on to the end of a refused body, within reason: a client that is still sending hears no answer."""
        left = self._limits.max_body_bytes
        # RuntimeError is Starlette's way to say that the body has been read.
        with contextlib.suppress(ClientDisconnect, RuntimeError):
            async for chunk in exchange.request.stream():
                left -= len(chunk)
                if left < 0:
                    return


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _flag(params: Mapping[str, str], name: str) -> bool:
    return params.get(name, "0").lower() in {"1", "true"}


def _options(exchange: Exchange, *, read_only: bool) -> Options:
    """Database, settings and parameters of a request. Raises FrontError for what has no meaning here."""
    settings: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for name, value in exchange.params.items():
        if name in _REFUSED:
            code, why = _REFUSED[name]
            if value not in {"", "0", "false"}:
                raise FrontError(code, f"The parameter {name} is refused: {why}")
        elif name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif name not in _NOT_SETTINGS:
            settings[name] = value
    for name in parameters:
        if not _PARAMETER_NAME.fullmatch(name):
            raise FrontError(BAD_ARGUMENTS, f"Not the name of a query parameter: {name!r}")
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise FrontError(UNKNOWN_SETTING, f"Not the name of a setting: {name!r}")
    database = exchange.params.get("database") or exchange.request.headers.get("x-clickhouse-database", "")
    return Options(database, settings, parameters, read_only)


def create_app(engine: Engine, config: Config) -> Starlette:
    """The front over an open engine; closing the engine is the caller's."""

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def not_found(request: Request, _: Exception) -> Response:
        return PlainTextResponse(f"There is no handle {request.url.path}\n", status_code=404)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # A query holds one thread; opening, closing and killing must find one even so.
        threads = ThreadPoolExecutor(2 * config.limits.max_concurrent_queries + 4, thread_name_prefix="chdb")
        asyncio.get_running_loop().set_default_executor(threads)
        yield
        # The server has cancelled by now what outlasted its time. Those tasks are stopping their queries, and the
        # loop must not end under them: the engine would be closed with a query in it.
        await front.idle()

    front = Front(engine, config)
    routes = [
        Route("/ping", ping),
        Route("/", front, methods=["GET", "POST"]),
        # As in ClickHouse: its Java client has the database for a path, and names it in a header too.
        Route("/{path:path}", front, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: not_found, 405: not_found}, lifespan=lifespan)
