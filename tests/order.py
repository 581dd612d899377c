"""A pytest plugin: tests of units and of single parts run in a random order, so that none comes to need another.

Folders, modules within a folder and tests within a module are each shuffled, and what is in one stays together: a
worker of Kafka Connect, say, is started once for its folder and a dashboard once for its module. Neither
pytest-randomly nor pytest-random-order keeps both together, and the first also seeds ``random`` for each test. Where a
test stands follows from the seed and its name alone: a part of the tests has the same order as in the whole run.

End-to-end tests keep the order they are written in: they share a stack and its minutes of traffic on purpose.
"""

from __future__ import annotations

from random import Random

import pytest

_SHUFFLED = {("tests", "unit"), ("tests", "integration")}
_AS_WRITTEN = "written"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--order", metavar="SEED", help=f"seed of the random order; {_AS_WRITTEN!r} for that of the files")


def pytest_configure(config: pytest.Config) -> None:
    # Workers of pytest-xdist are given the options, and with them this seed.
    if config.option.order is None:
        config.option.order = str(Random().randrange(1_000_000))


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
