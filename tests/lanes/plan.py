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
    """Parts that run one after the other; lanes run side by side."""

    name: str
    parts: tuple[Part, ...]


_BEHIND_THE_STACKS = (
    *(
        f"tests/integration/{folder}"
        for folder in ("chdb_http", "containers", "dashboard", "kafka_connect", "s3", "stack")
    ),
    "tests/browser",
    "tests/scenarios",
)
"""A quarter of what single parts take, in the lane that would else be done sooner."""

EACH_CHANGE = (
    # A lane by itself leaves half of two cores idle: it waits for parts to start, minutes to end, sessions to run out.
    # Two keep them busy; three would come near the limits that parts have to start within.
    Lane(
        "parts",
        (
            Part("lint", command=("make", "--no-print-directory", "lint")),
            Part("compose-check", command=("make", "--no-print-directory", "compose-check")),
            Part("unit", ("tests/unit",), options=("--numprocesses", "2")),
            Part(
                "integration",
                ("tests/integration",),
                options=tuple(f"--ignore={folder}" for folder in _BEHIND_THE_STACKS),
            ),
        ),
    ),
    Lane("stacks", (Part("e2e", ("tests/e2e", "tests/chaos")), Part("more-integration", _BEHIND_THE_STACKS))),
)

LONG = (
    Lane(
        "long forms",
        (
            Part("long", ("tests/long",)),
            Part("minio", ("tests/integration/s3",), options=("-k", "minio")),
            Part("images", ("tests/images",)),
        ),
    ),
)

PLANS = {"each-change": EACH_CHANGE, "long": LONG}


def runs_at_each_change(path: str) -> bool:
    """Whether `make test` runs the tests of this file (a path from the repository's root)."""
    folders = (folder for lane in EACH_CHANGE for part in lane.parts for folder in part.paths)
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
