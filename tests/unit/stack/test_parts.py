"""The list of parts: names, needs, order of stopping, and secrets kept out of what others can read."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etar.streams.catalogue import PARTS_OF_THE_STACK
from stack.configuration import LINK_OFFSET, SECRETS, Settings, make_settings
from stack.layout import Layout
from stack.lifecycle import is_ready, stop_order
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
        # An address for browsers is no link between parts.
        of_browsers = ("AIRFLOW__API__", "ETAR_DASHBOARD_AIRFLOW_URL")
        known = " ".join(value for variable, value in seen.items() if not variable.startswith(of_browsers))
        assert not [server for server in servers if names_port(linked.settings.port(server), known)], name
    commands = " ".join(" ".join(part.command(linked)) for part in possible_parts(linked))
    assert not [server for server in servers if names_port(linked.settings.link(server), commands)]


def names_port(port: int, text: str) -> bool:
    """As a whole number: a generated secret, or the time in a file's name, may have the same digits in its middle."""
    return re.search(rf"\b{port}\b", text) is not None


def test_an_unknown_part_lists_the_known_ones(stack: Stack) -> None:
    with pytest.raises(KeyError, match="airflow-scheduler"):
        part_named("airflow", stack)


@pytest.fixture
def with_jobs(stack: Stack) -> Stack:
    """Of all the streams that there are."""
    return Stack(stack.layout, Settings({**stack.settings.values, "ETAR_STREAMS": "all"}))


def test_a_job_of_a_stream_is_a_part_while_the_stream_is_on(stack: Stack, with_jobs: Stack) -> None:
    jobs = [job.name for stream in with_jobs.streams for job in stream.jobs]
    assert "category-sales" in jobs
    assert not {part.name for part in possible_parts(stack)} & set(jobs)
    nodes: list[Part | Step] = [*possible_parts(with_jobs), *steps_of(with_jobs)]
    names = {node.name for node in nodes}
    assert set(jobs) <= names
    assert len(names) == len(nodes)
    assert {need for name in jobs for need in part_named(name, with_jobs).needs} <= names


def test_a_job_knows_where_it_writes_and_no_secret_but_its_own(with_jobs: Stack) -> None:
    part = part_named("category-sales", with_jobs)
    command, environment = " ".join(part.command(with_jobs)), part.environment(with_jobs)
    assert not [name for name in SECRETS if with_jobs.settings[name] in command]
    known = "\n".join(environment.values())
    others = ("ETAR_S3_SECRET_ACCESS_KEY", "ETAR_API_WRITE_TOKEN", "ETAR_STACK_POSTGRES_PASSWORD")
    assert not [name for name in others if with_jobs.settings[name] in known]
    assert with_jobs.settings["ETAR_REPORT_STORE_PASSWORD"] in known


def test_no_job_can_be_called_like_a_part(with_jobs: Stack) -> None:
    jobs = {job.name for stream in with_jobs.streams for job in stream.jobs}
    own = ("sink-", "demo-producer-")
    parts = {part.name for part in possible_parts(with_jobs) if not part.name.startswith(own)} - jobs
    assert parts == set(PARTS_OF_THE_STACK)


def test_a_job_is_well_while_it_tells_of_its_progress(with_jobs: Stack) -> None:
    with_jobs.layout.create()
    part = part_named("category-sales", with_jobs)
    assert not is_ready(part, with_jobs)
    beat = with_jobs.layout.run / "category-sales.beat"
    beat.touch()
    assert is_ready(part, with_jobs)
    os.utime(beat, (0, time.time() - 120))
    assert not is_ready(part, with_jobs)
    assert part.prepare
    part.prepare(with_jobs)
    assert not beat.exists()
