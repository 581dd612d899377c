"""The report API as an application: ``uvicorn --factory dashboard.api.main:create_app``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg_pool import AsyncNullConnectionPool

from dashboard.api import logs, openapi, problems
from dashboard.api.body_limit import BodyLimit
from dashboard.api.head import HeadOfEveryGet
from dashboard.api.routes import health, minutes, reports, streams
from dashboard.api.security import Tokens
from etar.settings import ReportApiSettings, ReportStoreSettings, get_settings


def create_app() -> FastAPI:
    """The application, from the environment's settings; it starts, and answers 503, while PostgreSQL is away.

    Raises:
        pydantic.ValidationError: a setting is missing or does not fit.
        ValueError: both tokens are the same.
    """
    api = get_settings(ReportApiSettings)
    store = get_settings(ReportStoreSettings)
    logs.configure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _pool(store) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(
        title="etar report API",
        summary="One report a minute, every revision kept, every event accounted for",
        version="1",
        lifespan=lifespan,
        # Both pages load their scripts from elsewhere; /openapi.json says the same.
        docs_url=None,
        redoc_url=None,
    )
    app.state.tokens = Tokens.of(api)
    app.add_middleware(BodyLimit, max_bytes=api.max_body_bytes)
    app.add_middleware(HeadOfEveryGet)
    problems.install(app, store_address=f"{store.host}:{store.port}")
    app.include_router(reports.router)
    app.include_router(minutes.router)
    app.include_router(streams.router)
    app.include_router(health.router)
    openapi.install(app)
    return app


def _pool(store: ReportStoreSettings) -> AsyncNullConnectionPool[AsyncConnection[Any]]:
    # Requests are few, so a connection is made when one needs it and only kept while others wait for one. That is what
    # makes an outage visible at once and its end too: a pool of idle connections learns of either by timeouts.
    return AsyncNullConnectionPool(
        kwargs={
            "host": store.host,
            "port": store.port,
            "dbname": store.database,
            "user": store.user,
            "password": store.password.get_secret_value(),
            "connect_timeout": 3,
            "application_name": "etar-report-api",
            "options": "-c TimeZone=UTC -c statement_timeout=5s",
        },
        max_size=8,
        timeout=5.0,
        open=False,
    )
