"""Settings of a stack: precedence, ports, secrets that stay, and no way to lose them."""

from __future__ import annotations

import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack.configuration import (
    PORTS,
    SCHEDULER_PAUSE,
    SECRETS,
    PortTakenError,
    Settings,
    SettingsError,
    check_ports_free,
    make_settings,
    prepare_settings,
    read_settings,
)
from stack.layout import Layout
from stack.parts import Stack
from stack.parts.airflow import AIRFLOW_SCHEDULER

NOW = datetime(2026, 11, 21, 10, 31, 42, tzinfo=UTC)


def test_environment_wins_over_file_and_file_over_default() -> None:
    saved = {"ETAR_PORT_KAFKA": "2000", "ETAR_PORT_API": "2001", "ETAR_DEMO_RATE": "7"}
    settings = make_settings({"ETAR_PORT_KAFKA": "3000"}, saved, NOW)
    assert settings["ETAR_PORT_KAFKA"] == "3000"
    assert settings["ETAR_PORT_API"] == "2001"
    assert settings["ETAR_PORT_S3"] == str(PORTS["ETAR_PORT_S3"])
    assert settings["ETAR_DEMO_RATE"] == "7"


def test_addresses_follow_the_ports() -> None:
    settings = make_settings({"ETAR_PORT_KAFKA": "3000", "ETAR_PORT_API": "3001"}, {}, NOW)
    assert settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:3000"
    assert settings["ETAR_API_URL"] == "http://127.0.0.1:3001"


def test_a_link_offset_puts_something_between_the_parts_and_is_kept() -> None:
    plain = make_settings({}, {}, NOW)
    linked = make_settings({"ETAR_STACK_LINK_OFFSET": "100"}, plain.values, NOW)
    assert make_settings({}, linked.values, NOW) == linked
    for name in ("KAFKA", "POSTGRES"):
        assert plain.link(name) == plain.port(name) == linked.port(name)
        assert linked.link(name) == linked.port(name) + 100
    moved = {name for name, value in linked.values.items() if value != plain.values[name]}
    assert moved == {
        "ETAR_STACK_LINK_OFFSET",
        "ETAR_KAFKA_BOOTSTRAP_SERVERS",
        "ETAR_REGISTRY_URL",
        "ETAR_CONNECT_REGISTRY_URL",
        "ETAR_WAREHOUSE_PORT",
        "ETAR_S3_ENDPOINT_URL",
        "ETAR_REPORT_STORE_PORT",
        "ETAR_API_URL",
    }
    assert linked["ETAR_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9192"


def test_a_link_offset_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingsError, match="ETAR_STACK_LINK_OFFSET='far'"):
        make_settings({"ETAR_STACK_LINK_OFFSET": "far"}, {}, NOW)


def test_offset_moves_every_port_but_those_given() -> None:
    settings = make_settings({"ETAR_PORT_OFFSET": "1000", "ETAR_PORT_API": "9"}, {"ETAR_PORT_S3": "1"}, NOW)
    expected = {name: port + 1000 for name, port in PORTS.items()} | {"ETAR_PORT_API": 9}
    assert {name: int(settings[name]) for name in PORTS} == expected


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ETAR_PORT_KAFKA": "65536"}, "ETAR_PORT_KAFKA=65536"),
        ({"ETAR_PORT_KAFKA": "0"}, "ETAR_PORT_KAFKA=0"),
        ({"ETAR_PORT_KAFKA": "http"}, "ETAR_PORT_KAFKA='http'"),
        ({"ETAR_PORT_KAFKA": "8000"}, "ETAR_PORT_API"),
    ],
)
def test_a_port_that_cannot_be_is_refused_by_name(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        make_settings(environment, {}, NOW)


def test_secrets_differ_between_stacks_and_never_come_from_the_callers_environment() -> None:
    one = make_settings({}, {}, NOW)
    other = make_settings(one.values, {}, NOW)
    assert all(one[name] != other[name] and len(one[name]) >= 32 for name in SECRETS)


def test_a_second_start_keeps_secrets_and_start_date(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    first = prepare_settings(file, {}, NOW)
    second = prepare_settings(file, {}, NOW.replace(hour=23))
    assert second == first == read_settings(file)
    assert first["ETAR_PIPELINE_START_DATE"] == "2026-11-21T10:31:00+00:00"


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    prepare_settings(tmp_path / "settings.env", {}, NOW)
    assert stat.S_IMODE((tmp_path / "settings.env").stat().st_mode) == 0o600


def test_no_stack_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make up DIR="):
        read_settings(tmp_path / "settings.env")


def test_a_taken_port_is_named_with_the_variable_that_moves_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = Settings(dict.fromkeys(PORTS, "1") | {"ETAR_PORT_AIRFLOW": str(port)})
        with pytest.raises(PortTakenError, match=rf"port {port}, wanted for airflow.*ETAR_PORT_AIRFLOW=") as raised:
            check_ports_free(settings)
    assert "is taken" in str(raised.value)


def test_the_schedulers_pause_is_a_setting_of_the_stack_and_reaches_it(tmp_path: Path) -> None:
    settings = make_settings({SCHEDULER_PAUSE: "1.5"}, {SCHEDULER_PAUSE: "2"}, NOW)
    scheduler = AIRFLOW_SCHEDULER.environment(Stack(Layout.at(tmp_path), settings))
    assert scheduler["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == "1.5"
    assert Settings({}).scheduler_pause == make_settings({}, {}, NOW).scheduler_pause, "one that an older etar made"


@pytest.mark.parametrize("text", ["0", "-1", "60", "nan", "soon"])
def test_a_pause_that_would_burn_a_core_or_hold_reports_back_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=SCHEDULER_PAUSE):
        make_settings({SCHEDULER_PAUSE: text}, {}, NOW)


def test_a_part_is_given_only_the_variables_it_asks_for() -> None:
    settings = make_settings({}, {}, NOW)
    given = settings.starting_with("ETAR_KAFKA_", "ETAR_SINK_")
    assert given
    assert all(name.startswith(("ETAR_KAFKA_", "ETAR_SINK_")) for name in given)
