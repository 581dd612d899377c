"""What runs at each change, in which lane, and what only `make test-long` runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One command of a lane: a run of pytest over ``paths``, or another ``command`` that ends with 0 if all is well."""

    name: str
    paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def is_pytest(self) -> bool:
        return bool(self.paths)


@dataclass(frozen=True)
class Lane:
    """Parts that run one after the other; lanes run side by side.

    Args:
        after: the part of another lane that has to have ended before this one begins.
        nice: as of ``nice -n``, so that a lane that mostly waits gets the processor when it has work.
    """

    name: str
    parts: tuple[Part, ...]
    after: str | None = None
    nice: int = 0


@dataclass(frozen=True)
class Plan:
    """Lanes, and parts that are taken by whichever lane has done its own, in this order: so that none is done early."""

    lanes: tuple[Lane, ...]
    shared: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        names = {part.name for part in self.parts}
        for lane in self.lanes:
            if lane.after is not None and lane.after not in names:
                raise ValueError(
                    f"the lane {lane.name!r} comes after {lane.after!r}, which is no part: {sorted(names)}"
                )

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*(part for lane in self.lanes for part in lane.parts), *self.shared)


_EDGES = ("bootstrap", "chdb_http", "containers", "dashboard", "kafka_connect", "s3", "spark_apps", "stack")
_ACCOUNT = ("audit", "dead_letters", "kafka", "reconcile", "trace", "verify", "test_minute_bounds.py")


def _integration(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/integration/{name}" for name in names)


EACH_CHANGE = Plan(
    # A lane by itself leaves half of two cores idle: it waits for parts to start, minutes to end, sessions to run out.
    # Two whole stacks would need more than there is: they have one lane. What it leaves, two lanes of single parts
    # take; they are nice to it, since it is the one that has to keep up with the clock.
    lanes=(
        Lane(
            "parts",
            (
                Part("lint", command=("make", "--no-print-directory", "lint")),
                Part("compose-check", command=("make", "--no-print-directory", "compose-check")),
                Part("unit", ("tests/unit", "tests/streams"), options=("--numprocesses", "2")),
            ),
            nice=5,
        ),
        Lane("stacks", (Part("e2e", ("tests/e2e", "tests/chaos")),)),
        Lane("more parts", (), after="unit", nice=5),
    ),
    # Each starts single parts of its own, the longest first. What is in neither of the two lists, a new folder for one,
    # is in `integration`.
    shared=(
        Part("account", _integration(*_ACCOUNT)),
        Part(
            "integration",
            ("tests/integration",),
            options=tuple(f"--ignore={path}" for path in _integration(*_EDGES, *_ACCOUNT)),
        ),
        Part("edges", (*_integration(*_EDGES), "tests/browser")),
        Part("scenarios", ("tests/scenarios",)),
        Part("upgrade", ("tests/upgrade",)),
    ),
)

LONG = Plan(
    lanes=(
        Lane(
            "long forms",
            (
                Part("long", ("tests/long",)),
                Part("minio", ("tests/integration/s3",), options=("-k", "minio")),
                Part("images", ("tests/images",)),
            ),
        ),
    )
)

PLANS = {"each-change": EACH_CHANGE, "long": LONG}


def runs_at_each_change(path: str) -> bool:
    """Whether `make test` runs the tests of this file (a path from the repository's root)."""
    folders = (folder for part in EACH_CHANGE.parts for folder in part.paths)
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
