"""Which error becomes which answer, and how OpenAPI describes it."""

from __future__ import annotations

import logging
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel

from etar.stream_code import StreamCodeError
from etar.streams import DEFAULT_STREAM

_log = logging.getLogger(__name__)

_Responses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    detail: str


class InvalidPart(BaseModel):
    """One part of a request that does not fit."""

    loc: list[str | int]
    msg: str
    type: str


class InvalidRequest(BaseModel):
    """Every part of a request that does not fit."""

    detail: list[InvalidPart]


def example(value: object) -> dict[str, Any]:
    """The part of a response's description that shows one answer."""
    return {"content": {"application/json": {"example": value}}}


def _problem(status: int, description: str, detail: str) -> _Responses:
    return {status: {"model": Problem, "description": description, **example({"detail": detail})}}


BAD_BODY: Final = _problem(400, "The body cannot be read", "There was an error parsing the body")
UNAUTHORIZED: Final = _problem(401, "No token, or an unknown one", "a bearer token is needed: the read token")
UNAUTHORIZED[401]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}}
FORBIDDEN: Final = _problem(
    403, "The token of the other kind", "this token does not allow to read; the read token is needed"
)
NOT_FOUND: Final = _problem(404, "There is no such report", f"no report of {DEFAULT_STREAM} for 2026-11-21T10:31Z")
MINUTE_NOT_FOUND: Final = _problem(
    404, "No run has begun this minute", f"no run of {DEFAULT_STREAM} has begun 2026-11-21T10:31Z"
)
TOO_LARGE: Final = _problem(413, "The body is too large", "the body is larger than 1048576 bytes")
INVALID: Final[_Responses] = {422: {"model": InvalidRequest, "description": "A part of the request does not fit"}}
STORE_AWAY: Final = _problem(
    503,
    "The report store is away, or the stream's own code is at fault",
    "the report store (PostgreSQL at 127.0.0.1:5432) does not answer; try again",
)
AUTHENTICATED: Final[_Responses] = {**UNAUTHORIZED, **FORBIDDEN}


def invalid(loc: tuple[str | int, ...], message: str) -> RequestValidationError:
    """The error for what only several parameters together show."""
    return RequestValidationError([{"loc": loc, "msg": message, "type": "value_error"}])


def install(app: FastAPI, store_address: str) -> None:
    """Register the handlers that turn errors into answers; the reason goes to the log, its outline to the client."""

    async def store_away(request: Request, error: Exception) -> JSONResponse:
        _log.warning("report store away", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(503, f"the report store (PostgreSQL at {store_address}) does not answer; try again")

    async def tables_missing(request: Request, error: Exception) -> JSONResponse:
        _log.error("report store has no tables", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(503, f"the report store (PostgreSQL at {store_address}) has no tables yet; apply sql/postgres")

    async def invalid_request(_: Request, error: Exception) -> JSONResponse:
        # What was sent is not sent back: it may be large, and it may not be writable as JSON (NaN, lone surrogates).
        assert isinstance(error, RequestValidationError)  # noqa: S101
        parts = [{"loc": part["loc"], "msg": part["msg"], "type": part["type"]} for part in error.errors()]
        return JSONResponse({"detail": parts}, 422)

    async def not_storable(_: Request, error: Exception) -> JSONResponse:
        part = {"loc": [], "msg": f"the report store cannot hold this: {_one_line(error)}", "type": "value_error"}
        return JSONResponse({"detail": [part]}, 422)

    async def stream_at_fault(request: Request, error: Exception) -> JSONResponse:
        # Not the poster's fault, and mended without a restart: the same may be sent again.
        _log.error("stream at fault", extra={"path": request.url.path, "error": _one_line(error)})
        return _answer(503, _one_line(error))

    for away in (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError):
        app.add_exception_handler(away, store_away)
    app.add_exception_handler(psycopg.errors.UndefinedTable, tables_missing)
    app.add_exception_handler(psycopg.DataError, not_storable)
    app.add_exception_handler(StreamCodeError, stream_at_fault)
    app.add_exception_handler(RequestValidationError, invalid_request)


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse(Problem(detail=detail).model_dump(), status)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
