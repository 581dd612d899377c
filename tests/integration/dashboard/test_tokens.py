"""`etar token` as a person runs it, and what the API makes of it while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from etar.api_tokens import SEEN_SECONDS, Role
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings, get_settings
from stack.parts import Stack
from stack.waiting import wait_until
from tests.conftest import running_part
from tests.integration.dashboard.serving import READ_TOKEN, WRITE_TOKEN, RunningApi, bearer, serving, status, until
from tests.integration.dashboard.test_openapi import OPERATIONS
from tests.integration.dashboard.test_report_events import listening, post
from tests.ports import free_ports

Run = Callable[..., Result]


def use_store(store: ReportStoreSettings, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("ETAR_DIR", str(folder))
    for name, value in {
        "HOST": store.host,
        "PORT": str(store.port),
        "DATABASE": store.database,
        "USER": store.user,
        "PASSWORD": store.password.get_secret_value(),
    }.items():
        monkeypatch.setenv(f"ETAR_REPORT_STORE_{name}", value)


def etar_token(*arguments: str) -> Result:
    get_settings.cache_clear()
    return CliRunner().invoke(app, ["token", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def run(report_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    use_store(report_store, monkeypatch, tmp_path)
    return etar_token


@pytest.fixture
def name() -> str:
    return f"anna-{uuid4().hex[:12]}"


def made(run: Run, name: str, role: Role = Role.READER, *options: str) -> str:
    """A new token."""
    result = run("create", "--role", role, "--name", name, *options)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


class TestCommand:
    def test_a_token_is_shown_once_and_only_its_hash_is_kept(
        self, run: Run, name: str, report_store: ReportStoreSettings
    ) -> None:
        result = run("create", "--role", "operator", "--name", name)

        token = result.stdout.strip()
        assert token.startswith("etar_")
        assert len(token) == 48  # 256 bits
        assert f"{name} is operator now" in result.stderr
        with report_store_connection(report_store) as connection:
            (row,) = connection.execute("SELECT t::text FROM api_tokens AS t WHERE name = %s", (name,)).fetchall()
        assert token not in row[0]
        assert token not in run("list", "--all", "--json").output

    def test_the_list_says_whose_tokens_are_good_and_until_when(self, run: Run, name: str) -> None:
        made(run, name, Role.WRITER, "--expires", "30")
        (listed,) = [line for line in run("list").stdout.splitlines() if name in line]
        assert "writer" in listed
        assert " until 20" in listed
        assert listed.rstrip().endswith("never")
        assert run("revoke", name).exit_code == 0
        assert name not in run("list").stdout
        assert any(name in line and "revoked 20" in line for line in run("list", "--all").stdout.splitlines())
        (of_json,) = [each for each in json.loads(run("list", "--all", "--json").stdout) if each["name"] == name]
        assert of_json["revoked_at"]

    def test_a_rotated_token_keeps_role_and_lifetime(
        self, run: Run, name: str, report_store: ReportStoreSettings
    ) -> None:
        made(run, name, Role.OPERATOR, "--expires", "30")
        assert run("rotate", name, "--overlap", "5").exit_code == 0
        with report_store_connection(report_store) as connection:
            old, new = connection.execute(
                "SELECT role, extract(epoch FROM expires_at - created_at)::float8 FROM api_tokens WHERE name = %s "
                "ORDER BY id",
                (name,),
            ).fetchall()
        assert new == ("operator", 30 * 86400.0)
        assert old[1] < 30 * 60

    def test_a_rotation_does_not_make_an_old_token_last_longer(
        self, run: Run, name: str, report_store: ReportStoreSettings
    ) -> None:
        made(run, name)
        for overlap in ("5", "60"):
            assert run("rotate", name, "--overlap", overlap).exit_code == 0
        with report_store_connection(report_store) as connection:
            (left,) = connection.execute(
                "SELECT extract(epoch FROM expires_at - created_at)::float8 FROM api_tokens WHERE name = %s "
                "ORDER BY id LIMIT 1",
                (name,),
            ).fetchone() or (None,)
        assert left is not None
        assert left < 10 * 60

    @pytest.mark.parametrize("bad", ["", "Anna", "-anna", "a b", "a" * 64, "anna\n", "ännä"])
    def test_what_is_no_name_is_refused(self, run: Run, bad: str) -> None:
        result = run("create", "--role", "reader", f"--name={bad}")
        assert result.exit_code == 1
        assert "is no name of a token" in result.stderr

    def test_a_name_has_one_token_at_a_time(self, run: Run, name: str) -> None:
        made(run, name)
        again = run("create", "--role", "reader", "--name", name)
        assert again.exit_code == 1
        assert f"there is a token {name} that is good; rotate it" in again.stderr
        run("revoke", name)
        made(run, name)

    @pytest.mark.parametrize("command", ["revoke", "rotate"])
    def test_a_name_without_a_good_token_is_said_to_be_none(self, run: Run, name: str, command: str) -> None:
        result = run(command, name)
        assert result.exit_code == 1
        assert f"there is no token {name} that is good" in result.stderr

    def test_a_store_that_is_away_is_said_to_be(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ETAR_REPORT_STORE_PORT", str(free_ports(1)[0]))
        result = run("list")
        assert result.exit_code == 1
        assert "the report store at 127.0.0.1:" in result.stderr


class TestApi:
    def test_a_token_works_without_a_restart_until_it_is_revoked(self, api: RunningApi, run: Run, name: str) -> None:
        assert status(api, READ_TOKEN) == 200  # the API has read the tokens that there were
        token = made(run, name)
        until(api, token, 200)
        run("revoke", name)
        until(api, token, 401)

    def test_both_tokens_are_good_for_the_overlap(self, api: RunningApi, run: Run, name: str) -> None:
        old = made(run, name)
        new = run("rotate", name, "--overlap", "60").stdout.strip()
        until(api, new, 200)
        assert status(api, old) == 200
        newest = run("rotate", name, "--overlap", "0").stdout.strip()
        until(api, newest, 200)
        for ended in (old, new):
            until(api, ended, 401)

    def test_revoking_ends_the_old_token_of_an_overlap_too(self, api: RunningApi, run: Run, name: str) -> None:
        old = made(run, name)
        new = run("rotate", name).stdout.strip()
        until(api, new, 200)
        run("revoke", name)
        for ended in (old, new):
            until(api, ended, 401)

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_a_role_gets_403_on_the_routes_of_others(
        self, api: RunningApi, tokens: dict[Role, str], method: str, path: str, role: Role
    ) -> None:
        security = api.stranger.get("/openapi.json").json()["paths"][path][method].get("security", [])
        needed = [Role(each.removesuffix("Token")) for scheme in security for each in scheme]
        of_one = path.format(
            minute="2020-01-01T00:00Z", day="2020-01-01", partition=3, offset=4, stream="x", job="y", alert="z"
        )
        body: dict[str, str] | None = {} if method == "post" else None
        with api.stranger.stream(method, of_one, headers=bearer(tokens[role]), json=body) as answer:
            assert (answer.status_code == 403) is not all(role.may(each) for each in needed)
            assert answer.status_code != 401

    def test_when_a_token_was_last_used_is_noted(
        self, api: RunningApi, run: Run, name: str, report_store: ReportStoreSettings
    ) -> None:
        token = made(run, name)
        until(api, token, 200)
        with report_store_connection(report_store) as connection:
            found = connection.execute("SELECT last_used_at FROM api_tokens WHERE name = %s", (name,)).fetchone()
        assert found is not None
        assert found[0] is not None

    def test_who_listens_with_a_revoked_token_is_told_nothing_more(
        self, api: RunningApi, run: Run, name: str, stream: str
    ) -> None:
        token = made(run, name)
        until(api, token, 200)
        with listening(api, stream, token=token) as listener, listening(api, stream) as other:
            told = post(api, stream, views=1)
            assert listener.next() == other.next() == told
            run("revoke", name)
            until(api, token, 401)
            assert post(api, stream, views=2) == other.next()
            with pytest.raises(EOFError):
                listener.next()

    def test_no_token_is_in_the_log_and_those_of_the_environment_are_in_no_table(
        self, api: RunningApi, run: Run, name: str, report_store: ReportStoreSettings
    ) -> None:
        token = made(run, name)
        until(api, token, 200)
        assert token not in api.log.read_text()
        with report_store_connection(report_store) as connection:
            found = connection.execute(
                "SELECT count(*) FROM api_tokens WHERE sha256 IN (sha256(%s), sha256(%s))",
                (READ_TOKEN.encode(), WRITE_TOKEN.encode()),
            ).fetchone()
        assert found == (0,)


@pytest.fixture(scope="module")
def tokens(
    api: RunningApi, report_store: ReportStoreSettings, tmp_path_factory: pytest.TempPathFactory
) -> dict[Role, str]:
    """A token of each role, which the API knows."""
    with pytest.MonkeyPatch.context() as environment:
        use_store(report_store, environment, tmp_path_factory.mktemp("tokens"))
        found = {role: made(etar_token, f"{role}-{uuid4().hex[:12]}", role) for role in Role}
    for role, token in found.items():
        until(api, token, 403 if role is Role.WRITER else 200)
    return found


def test_while_the_store_is_away_the_environments_tokens_are_good_and_nobody_knows_of_others(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    use_store(store, monkeypatch, tmp_path)
    with serving(store, tmp_path / "api.log") as api:
        with running_part("postgres", own_stack):
            token = made(etar_token, "anna")
            until(api, token, 200)

        def away() -> httpx.Response:
            return api.stranger.get("/metrics", headers=bearer(token))

        wait_until(lambda: away().status_code == 503, timeout=60, what=f"{SEEN_SECONDS:g} s to have passed")
        assert "does not answer" in away().json()["detail"]
        assert api.stranger.get("/metrics", headers=bearer("unknown")).status_code == 503
        assert api.reader.get("/metrics").status_code == 200
        assert api.stranger.get("/metrics").status_code == 401

        with running_part("postgres", own_stack):
            assert status(api, token) == 200
            assert status(api, "unknown") == 401
