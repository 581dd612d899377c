"""Which error becomes which answer (RFC 9457, ``application/problem+json``), and how OpenAPI describes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from etar.clients import WarehouseUnavailableError
from etar.stream_code import StreamCodeError
from etar.streams import DEFAULT_STREAM

_log = logging.getLogger(__name__)

_Responses = dict[int | str, dict[str, Any]]


MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class InvalidPart(BaseModel):
    """One part of a request that does not fit."""

    loc: list[str | int]
    msg: str
    type: str


class InvalidRequest(Problem):
    """A request of which ``errors`` are the parts that do not fit; ``detail`` is all of them in a line."""

    errors: list[InvalidPart]


def example(value: object) -> dict[str, Any]:
    """The part of a response's description that shows one answer."""
    return {"content": {"application/json": {"example": value}}}


def _problem(status: int, description: str, detail: str) -> _Responses:
    return {status: {"description": description, **_content(problem(status, detail))}}


def problem(status: int, detail: str) -> Problem:
    """One that its status says all about."""
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)


def _content(example: Problem) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{type(example).__name__}"}
    return {"content": {MEDIA_TYPE: {"schema": schema, "example": example.model_dump()}}}


def _invalid(parts: list[InvalidPart]) -> InvalidRequest:
    said = (f"{'.'.join(map(str, part.loc))}: {part.msg}" if part.loc else part.msg for part in parts)
    return InvalidRequest(title="Unprocessable Content", status=422, detail="; ".join(said), errors=parts)


BAD_BODY: Final = _problem(400, "The body cannot be read", "There was an error parsing the body")
UNAUTHORIZED: Final = _problem(
    401, "No token, or an unknown one", "a bearer token is needed, a reader's or an operator's"
)
UNAUTHORIZED[401]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}}
FORBIDDEN: Final = _problem(
    403, "A token of another role", "this token is a writer's; a reader's or an operator's is needed"
)
NOT_FOUND: Final = _problem(404, "There is no such report", f"no report of {DEFAULT_STREAM} for 2026-11-21T10:31Z")
MINUTE_NOT_FOUND: Final = _problem(
    404, "No run has begun this minute", f"no run of {DEFAULT_STREAM} has begun 2026-11-21T10:31Z"
)
NO_WINDOWS: Final = _problem(
    404, "The stream has no live windows", f"'{DEFAULT_STREAM}' is no stream with live windows"
)
NO_JOB: Final = _problem(404, "No stream that is on has this job", f"'{DEFAULT_STREAM}' is on with no job 'sums'")
NO_STREAM: Final = _problem(404, "There is no such stream", "'clicks' is no stream that has a folder")
NO_LETTER: Final = _problem(
    404, "There is no such dead letter, or no such stream", f"no dead letter of {DEFAULT_STREAM}: 3:1042"
)
NO_LOOK_UP: Final = _problem(
    503,
    "So many look-ups are under way already, a place does not answer, or a setting is missing",
    "2 look-ups are under way already; try again",
)
NOT_SILENCED: Final = _problem(
    404, "It is not silenced", "'SinkBehind' is not silenced; `stream` has to be as it was then"
)
TOO_LARGE: Final = _problem(413, "The body is too large", "the body is larger than 1048576 bytes")
INVALID: Final[_Responses] = {
    422: {
        "description": "A part of the request does not fit",
        **_content(_invalid([InvalidPart(loc=["query", "from"], msg="'noon' is not an instant", type="value_error")])),
    }
}
STORE_AWAY: Final = _problem(
    503,
    "The report store is away, or the stream's own code is at fault",
    "the report store (PostgreSQL at 127.0.0.1:5432) does not answer; try again",
)
TOO_MANY: Final = _problem(429, "Too many requests", "this token has asked 6000 times in a minute; try again in 12 s")
TOO_MANY[429]["headers"] = {
    "Retry-After": {"description": "Seconds until there are more", "schema": {"type": "integer", "minimum": 1}}
}
AUTHENTICATED: Final[_Responses] = {**UNAUTHORIZED, **FORBIDDEN, **TOO_MANY}


def invalid(loc: tuple[str | int, ...], message: str) -> RequestValidationError:
    """The error for what only several parameters together show."""
    return RequestValidationError([{"loc": loc, "msg": message, "type": "value_error"}])


def install(app: FastAPI, store_address: str) -> None:
    """Register the handlers that turn errors into answers; the reason goes to the log, its outline to the client."""

    async def store_away(request: Request, error: Exception) -> JSONResponse:
        _log.warning("report store away", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(problem(503, f"the report store (PostgreSQL at {store_address}) does not answer; try again"))

    async def tables_missing(request: Request, error: Exception) -> JSONResponse:
        _log.error("report store has no tables", extra={"path": request.url.path, "error": _one_line(error)})
        message = f"the report store (PostgreSQL at {store_address}) has no tables yet; apply sql/postgres"
        return _answer(problem(503, message))

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        return _answer(problem(error.status_code, error.detail), error.headers)

    async def invalid_request(_: Request, error: Exception) -> JSONResponse:
        # What was sent is not sent back: it may be large, and it may not be writable as JSON (NaN, lone surrogates).
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return _answer(
            _invalid([InvalidPart(loc=part["loc"], msg=part["msg"], type=part["type"]) for part in error.errors()])
        )

    async def not_storable(_: Request, error: Exception) -> JSONResponse:
        message = f"the report store cannot hold this: {_one_line(error)}"
        return _answer(_invalid([InvalidPart(loc=[], msg=message, type="value_error")]))

    async def warehouse_away(request: Request, error: Exception) -> JSONResponse:
        _log.warning("warehouse away", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(problem(503, "the warehouse does not give the answer; try again"))

    async def stream_at_fault(request: Request, error: Exception) -> JSONResponse:
        # Not the poster's fault, and mended without a restart: the same may be sent again.
        _log.error("stream at fault", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(problem(503, _one_line(error)))

    for away in (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError):
        app.add_exception_handler(away, store_away)
    app.add_exception_handler(psycopg.errors.UndefinedTable, tables_missing)
    app.add_exception_handler(psycopg.DataError, not_storable)
    app.add_exception_handler(WarehouseUnavailableError, warehouse_away)
    app.add_exception_handler(StreamCodeError, stream_at_fault)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, refused)


def _answer(said: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(said.model_dump(), said.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
