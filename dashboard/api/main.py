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
from dashboard.api.deps import connected
from dashboard.api.feed import ReportFeed
from dashboard.api.head import HeadOfEveryGet
from dashboard.api.headers import SafeForBrowsers
from dashboard.api.metrics import METRICS, CountedRequests
from dashboard.api.rates import Rates
from dashboard.api.routes import (
    account,
    days,
    dead_letters,
    health,
    minutes,
    operations,
    report_events,
    reports,
    streams,
    system,
    trace,
    windows,
)
from dashboard.api.security import EnvironmentTokens
from dashboard.api.token_book import TokenBook
from dashboard.api.versions import Versioned
from etar.settings import PipelineSettings, ReconcileSettings, ReportApiSettings, ReportStoreSettings, get_settings


def create_app() -> FastAPI:
    """The application, from the environment's settings; it starts, and answers 503, while PostgreSQL is away.

    Raises:
        pydantic.ValidationError: a setting is missing or does not fit.
        ValueError: both tokens are the same.
    """
    api = get_settings(ReportApiSettings)
    store = get_settings(ReportStoreSettings)
    # Said at the start, and not by the first question for a day.
    get_settings(PipelineSettings)
    get_settings(ReconcileSettings)
    logs.configure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _pool(store) as pool:
            app.state.pool = pool
            app.state.token_book = TokenBook(lambda: connected(app))
            app.state.feed = ReportFeed(lambda: AsyncConnection.connect(**connection_arguments(store), autocommit=True))
            METRICS.of_pool(pool)
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
    app.state.rates = Rates(requests=api.max_requests_a_minute, refusals=api.max_refusals_a_minute)
    app.state.tokens = EnvironmentTokens.of(api)
    # The innermost: what is counted is what the routes answer.
    app.add_middleware(CountedRequests)
    app.add_middleware(BodyLimit, max_bytes=api.max_body_bytes)
    app.add_middleware(HeadOfEveryGet)
    app.add_middleware(SafeForBrowsers)
    app.add_middleware(Versioned)
    problems.install(app, store_address=f"{store.host}:{store.port}")
    app.include_router(reports.router)
    app.include_router(report_events.router)
    app.include_router(minutes.router)
    app.include_router(days.router)
    app.include_router(account.router)
    app.include_router(windows.router)
    app.include_router(streams.router)
    app.include_router(trace.router)
    app.include_router(dead_letters.router)
    app.include_router(system.router)
    app.include_router(operations.router)
    app.include_router(health.router)
    openapi.install(app)
    return app


def _pool(store: ReportStoreSettings) -> AsyncNullConnectionPool[AsyncConnection[Any]]:
    # Requests are few, so a connection is made when one needs it and only kept while others wait for one. That is what
    # makes an outage visible at once and its end too: a pool of idle connections learns of either by timeouts.
    return AsyncNullConnectionPool(kwargs=connection_arguments(store), max_size=8, timeout=5.0, open=False)


def connection_arguments(store: ReportStoreSettings) -> dict[str, Any]:
    """Of psycopg, for each connection of the API."""
    return {
        "host": store.host,
        "port": store.port,
        "dbname": store.database,
        "user": store.user,
        "password": store.password.get_secret_value(),
        "connect_timeout": 3,
        "application_name": "etar-report-api",
        "options": "-c TimeZone=UTC -c statement_timeout=5s",
    }
