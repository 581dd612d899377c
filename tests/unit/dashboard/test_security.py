from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from dashboard.api import logs
from dashboard.api.deps import MAY
from dashboard.api.main import create_app
from dashboard.api.security import EnvironmentTokens, Holder, MissingTokenError, WrongTokenError, require
from etar.api_tokens import Role
from etar.settings import get_settings

TOKENS = EnvironmentTokens(reader="read-token-0123456789", writer="write-token-0123456789")
MAY_DO = {
    Role.READER: {Role.READER},
    Role.OPERATOR: {Role.READER, Role.OPERATOR},
    Role.WRITER: {Role.WRITER},
}
OPEN = {"/health", "/openapi.json"}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    for name, value in {
        "ETAR_API_READ_TOKEN": TOKENS.reader,
        "ETAR_API_WRITE_TOKEN": TOKENS.writer,
        "ETAR_REPORT_STORE_PASSWORD": "unused",
        "ETAR_PIPELINE_START_DATE": "2025-11-01T00:00Z",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "configure", lambda: None)
    get_settings.cache_clear()
    made = create_app()
    get_settings.cache_clear()
    return made


def roles_of(route: BaseRoute) -> list[Role]:
    return [role for role, may in MAY.items() if may in getattr(route, "dependencies", ())]


def test_every_route_names_the_one_role_that_it_belongs_to(app: FastAPI) -> None:
    assert {getattr(route, "path", "") for route in app.routes if not roles_of(route)} == OPEN
    assert all(len(roles_of(route)) <= 1 for route in app.routes)
    changing = [route for route in app.routes if isinstance(route, APIRoute) and route.methods != {"GET"}]
    assert {route.path: roles_of(route) for route in changing} == {
        "/report": [Role.WRITER],
        "/silences": [Role.OPERATOR],
        "/silences/{alert}": [Role.OPERATOR],
    }


def test_a_route_without_a_role_is_seen(app: FastAPI) -> None:
    @app.get("/forgotten")
    async def forgotten() -> None: ...

    assert {getattr(route, "path", "") for route in app.routes if not roles_of(route)} == OPEN | {"/forgotten"}


@pytest.mark.parametrize("needed", Role)
@pytest.mark.parametrize("role", Role)
def test_a_role_does_its_own_and_an_operator_also_reads(role: Role, needed: Role) -> None:
    holder = Holder("anna", role)
    if needed in MAY_DO[role]:
        assert require(needed, "token", holder) is holder
    else:
        with pytest.raises(WrongTokenError, match=rf"this token is an? {role}'s; .*an? {needed}'s.* is needed"):
            require(needed, "token", holder)


@pytest.mark.parametrize(("token", "role"), [(TOKENS.reader, Role.READER), (TOKENS.writer, Role.WRITER)])
def test_the_environments_tokens_are_the_first_readers_and_writers(token: str, role: Role) -> None:
    holder = TOKENS.holder(token)
    assert holder is not None
    assert holder.role is role


@pytest.mark.parametrize(
    "token", ["", "unknown", TOKENS.reader[:-1], TOKENS.reader + "x", TOKENS.writer.upper(), "tökén ☃"]
)
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert TOKENS.holder(token) is None


@pytest.mark.parametrize("needed", Role)
def test_without_a_known_token_nothing_is_allowed(needed: Role) -> None:
    with pytest.raises(MissingTokenError, match=f"a bearer token is needed, .*{needed}'s"):
        require(needed, None, None)
    with pytest.raises(MissingTokenError, match=f"not known, or not any more; .*{needed}'s"):
        require(needed, "unknown", None)


def test_one_token_for_both_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="give each its own value"):
        EnvironmentTokens(reader="the-same-0123456789", writer="the-same-0123456789")


def test_tokens_are_not_shown() -> None:
    assert TOKENS.reader not in repr(TOKENS)
    assert TOKENS.writer not in repr(TOKENS)
