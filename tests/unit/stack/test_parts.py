"""The list of parts: names, needs, order of stopping, and secrets kept out of what others can read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack.configuration import LINK_OFFSET, SECRETS, Settings, make_settings
from stack.layout import Layout
from stack.lifecycle import stop_order
from stack.parts import Part, Stack, Step, part_named, possible_parts, steps_of
from stack.supervision import configuration


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(Layout.at(tmp_path / "a % sign"), make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)))


def stack_of_connect(stack: Stack) -> Stack:
    """The same with Kafka Connect, which has the most steps."""
    return Stack(stack.layout, Settings({**stack.settings.values, "ETAR_STACK_SINK": "connect"}))


def test_names_are_unique_and_every_need_exists(stack: Stack) -> None:
    nodes: list[Part | Step] = [*possible_parts(stack), *steps_of(stack_of_connect(stack))]
    names = {node.name for node in nodes}
    assert len(names) == len(nodes)
    assert {need for node in nodes for need in node.needs} <= names


def test_what_is_needed_stops_after_what_needs_it(stack: Stack) -> None:
    order = [name for layer in stop_order(stack) for name in layer]
    assert sorted(order) == sorted(part.name for part in possible_parts(stack))
    for inner, outer in [("kafka", "sink"), ("warehouse", "sink"), ("postgres", "airflow-scheduler")]:
        assert order.index(outer) < order.index(inner)


def test_no_secret_in_a_command_line(stack: Stack) -> None:
    commands = {part.name: " ".join(part.command(stack)) for part in possible_parts(stack)}
    assert len(commands) > 10
    assert not [
        (part, name) for part, command in commands.items() for name in SECRETS if stack.settings[name] in command
    ]


def test_no_secret_in_the_supervisors_configuration(stack: Stack) -> None:
    text = configuration(stack, possible_parts(stack))
    assert not [name for name in SECRETS if stack.settings[name] in text]
    assert "a %% sign" in text


@pytest.mark.parametrize(
    ("part", "not_its_business"),
    [
        ("sink", ["ETAR_API_WRITE_TOKEN", "ETAR_S3_SECRET_ACCESS_KEY", "ETAR_STACK_POSTGRES_PASSWORD"]),
        ("dashboard", ["ETAR_API_WRITE_TOKEN", "ETAR_REPORT_STORE_PASSWORD", "ETAR_WAREHOUSE_PASSWORD"]),
        ("report-api", ["ETAR_WAREHOUSE_PASSWORD", "ETAR_S3_SECRET_ACCESS_KEY"]),
        ("demo-producer", ["ETAR_API_READ_TOKEN", "ETAR_WAREHOUSE_PASSWORD"]),
        (
            "airflow-scheduler",
            ["ETAR_STACK_POSTGRES_PASSWORD", "ETAR_STACK_AIRFLOW_ADMIN_PASSWORD", "ETAR_API_READ_TOKEN"],
        ),
    ],
)
def test_a_part_does_not_know_secrets_it_has_no_use_for(part: str, not_its_business: list[str], stack: Stack) -> None:
    known = "\n".join(part_named(part, stack).environment(stack).values())
    assert not [name for name in not_its_business if stack.settings[name] in known]


def test_every_part_reaches_others_through_the_links_and_listens_on_its_own_port(tmp_path: Path) -> None:
    settings = make_settings({LINK_OFFSET: "100"}, {}, datetime(2026, 11, 21, tzinfo=UTC))
    linked = Stack(Layout.at(tmp_path), settings)
    servers = ("KAFKA", "REGISTRY", "WAREHOUSE", "S3", "POSTGRES", "API", "AIRFLOW")
    for name in ("airflow-scheduler", "sink", "report-api", "dashboard", "demo-producer"):
        seen = part_named(name, linked).environment(linked)
        # The page's own address, for browsers, is no link between parts.
        known = " ".join(value for variable, value in seen.items() if not variable.startswith("AIRFLOW__API__"))
        # Whole numbers: a generated secret may have the same digits in its middle.
        assert not [server for server in servers if re.search(rf"\b{linked.settings.port(server)}\b", known)], name
    commands = " ".join(" ".join(part.command(linked)) for part in possible_parts(linked))
    assert not [server for server in servers if str(linked.settings.link(server)) in commands]


def test_an_unknown_part_lists_the_known_ones(stack: Stack) -> None:
    with pytest.raises(KeyError, match="airflow-scheduler"):
        part_named("airflow", stack)
