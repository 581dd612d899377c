"""The programs that check for us: Docker's own compose program, compose-lint and hadolint.

Each is run on files only: none needs a container engine or the network.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.compose_check.dockerfile import parse_dockerfile
from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, EXAMPLE, Json, Project
from stack.layout import BUILD, VENV_BIN

COMPOSE = BUILD / "bin" / "docker-compose"

_HERE = Path(__file__).parent
_SECONDS = 60


class CheckError(Exception):
    """A check could not be made; the message says what is missing."""


@dataclass(frozen=True)
class Outcome:
    """What a program said."""

    code: int
    out: str
    err: str


def _run(command: Sequence[str | Path], root: Path) -> Outcome:
    program = Path(command[0])
    if not program.exists():
        raise CheckError(f"{program} is missing; `make setup-dev` makes it")
    # No environment: a variable that is set here and not in .env.example must not make the check pass.
    done = subprocess.run(
        list(map(str, command)), cwd=root, env={}, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def _compose(root: Path, *arguments: str, profile: str = "*") -> Outcome:
    command: list[str | Path] = [
        COMPOSE,
        "--file",
        COMPOSE_FILE,
        "--env-file",
        EXAMPLE,
        "--profile",
        profile,
        "config",
        *arguments,
    ]
    return _run(command, root)


def profiles(root: Path) -> tuple[str, ...]:
    """The profiles that the file names, and the empty name of what runs without any."""
    return ("", *_compose(root, "--no-consistency", "--profiles").out.split())


def validate(root: Path) -> list[Finding]:
    """What Compose's program refuses, for each profile on its own and for all of them.

    It leaves out the services of other profiles, so a dependency on one of them shows only when the profile is alone.
    """
    found: dict[Finding, None] = {}
    for profile in (*profiles(root), "*"):
        outcome = _compose(root, "--quiet", profile=profile)
        for line in outcome.err.splitlines():
            if finding := _said_by_compose(line, refused=outcome.code != 0):
                found[finding] = None
    return list(found)


def _said_by_compose(line: str, *, refused: bool) -> Finding | None:
    if warning := re.fullmatch(r'time="[^"]*" level=(?:warning|error) msg="(?P<text>.*)"', line):
        text = warning["text"].replace('\\"', '"')
        if unset := re.match(r'The "(\w+)" variable is not set', text):
            return Finding(
                COMPOSE_FILE,
                unset[1],
                "compose-config",
                "the variable has no value and no default",
                f"set it in {EXAMPLE}, or write ${{{unset[1]}:-default}} or ${{{unset[1]}:?why it is needed}}",
            )
        return Finding(COMPOSE_FILE, "", "compose-config", text, "mend the file")
    return Finding(COMPOSE_FILE, "", "compose-config", line, "mend the file") if refused and line.strip() else None


def read_project(root: Path) -> Project:
    """The project as Compose sees it, all profiles together.

    Raises:
        CheckError: Compose's program refuses the file (``validate`` says why) or is missing.
    """
    return Project(
        root=root,
        config=_json(_compose(root, "--format", "json")),
        raw=_json(_compose(root, "--no-interpolate", "--no-normalize", "--format", "json")),
        variables=_json(_compose(root, "--variables", "--format", "json")),
        example=(root / EXAMPLE).read_text(),
        dockerfiles={
            str(file.relative_to(root)): parse_dockerfile(file.read_text()) for file in find_dockerfiles(root)
        },
    )


def _json(outcome: Outcome) -> Json:
    if outcome.code != 0:
        raise CheckError(f"{COMPOSE_FILE} does not hold together: {outcome.err.strip()}")
    parsed: Mapping[str, object] = json.loads(outcome.out)
    return parsed


def find_dockerfiles(root: Path) -> list[Path]:
    """Every Dockerfile of the repository."""
    return sorted([*root.glob("docker/**/*Dockerfile"), *root.glob("*Dockerfile")])


def lint_compose(root: Path) -> list[Finding]:
    """compose-lint's findings; what it may pass over stands, with reasons, in ``compose-lint.yml`` beside this."""
    outcome = _run(
        [
            *(VENV_BIN / "compose-lint", "check", "--no-env", "--strict-config", "--fail-on", "low"),
            *("--config", _HERE / "compose-lint.yml", "--format", "json", COMPOSE_FILE),
        ],
        root,
    )
    if outcome.code not in (0, 1):
        raise CheckError(f"compose-lint could not read {COMPOSE_FILE}: {outcome.err.strip()}")
    return [
        Finding(
            COMPOSE_FILE,
            f"{one['service']} (line {one['line']})",
            one["rule_id"],
            one["message"].split(". ")[0],
            f"`.venv/bin/compose-lint --explain {one['rule_id']}` says how",
        )
        for one in json.loads(outcome.out)["findings"]
        if not one["suppressed"]
    ]


def lint_dockerfiles(root: Path) -> list[Finding]:
    """hadolint's findings; what it may pass over stands, with reasons, in ``hadolint.yaml`` beside this."""
    files = find_dockerfiles(root)
    if not files:
        return []
    names = [str(file.relative_to(root)) for file in files]
    outcome = _run([VENV_BIN / "hadolint", "--config", _HERE / "hadolint.yaml", "--format", "json", *names], root)
    return [
        Finding(one["file"], f"line {one['line']}", one["code"], one["message"], "hadolint's wiki says how")
        for one in json.loads(outcome.out)
    ]
