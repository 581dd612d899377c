"""A pytest plugin: tests of units and of single parts run in a random order, so that none comes to need another.

Folders, modules within a folder and tests within a module are each shuffled, and what is in one stays together: a
worker of Kafka Connect, say, is started once for its folder and a dashboard once for its module. Neither
pytest-randomly nor pytest-random-order keeps both together, and the first also seeds ``random`` for each test. Where a
test stands follows from the seed and its name alone: a part of the tests has the same order as in the whole run.

End-to-end tests keep the order they are written in: they share a stack and its minutes of traffic on purpose.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

_SHUFFLED = {("tests", "unit"), ("tests", "integration")}
_AS_WRITTEN = "written"
_HANDED = "order"
_LOADED_ONCE = ("tests/unit/dags/", "tests/integration/spark_apps/")
"""Airflow and Spark: each takes its tests' process ten seconds and more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--order", metavar="SEED", help=f"seed of the random order; {_AS_WRITTEN!r} for that of the files")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.order is None:
        handed = getattr(config, "workerinput", {}).get(_HANDED)
        config.option.order = handed or str(Random().randrange(1_000_000))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist, whose workers read the command line again: all have to have drawn one order."""
    node.workerinput[_HANDED] = node.config.option.order


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of pytest-xdist: each test to the worker that is free, but what loads something large to one of them, and first.

    The marks ``xdist_group`` would say so too, but xdist 3.8 writes them where pytest 9.2 does not look.
    """
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in _LOADED_ONCE if nodeid.startswith(folder)), nodeid)

    return Scheduling(config, log)


def pytest_report_header(config: pytest.Config) -> str:
    return f"order: {config.option.order} (once more in this order: --order={config.option.order})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus:
        terminalreporter.write_line(pytest_report_header(config))


@pytest.hookimpl(tryfirst=True)  # pytest then brings tests together that share a parameter of a fixture
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.order == _AS_WRITTEN:
        return
    lanes: dict[tuple[str, ...], int] = {}

    def place(item: pytest.Item) -> tuple[float, ...]:
        lane = item.path.relative_to(config.rootpath).parts[:2]
        first = lanes.setdefault(lane, len(lanes))
        if lane not in _SHUFFLED:
            return (first,)
        return (first, *(_drawn(config.option.order, name) for name in (item.path.parent, item.path, item.nodeid)))

    items.sort(key=place)


def _drawn(seed: str, name: object) -> float:
    return Random(f"{seed} {name}").random()
