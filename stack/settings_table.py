"""``python -m stack.settings_table``: writes docs/settings.md, what each setting is natively and in containers.

Everything in it comes from where it is decided: the settings classes, ``.env.example``, the native stack's own
settings and ``docker-compose.yml``. A test compares the file with what this would write.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path

from etar.settings import Concern
from stack.compose_check.programs import read_project
from stack.compose_check.project import Project, documented_variables
from stack.compose_check.variables import container_section
from stack.configuration import PORTS, SECRETS, SHAPE, TUNABLE, make_settings
from stack.layout import REPOSITORY
from stack.settings_classes import settings_classes

FILE = REPOSITORY / "docs" / "settings.md"

_HEAD = """\
# Settings

Every part reads its settings from environment variables, under the same names wherever it runs; a setting that is
secret may also be a file of `/run/secrets`, named like the variable in lower case. `.env.example` documents each.
Natively `etar up` writes them into `DIR/settings.env`. In containers `docker-compose.yml` gives each service those it
needs: addresses are fixed there, `.env` may change the others, and `make secrets` makes the files.

This file is generated: `.venv/bin/python -m stack.settings_table` writes it, and a test says when it is out of date.
"""


def render(project: Project) -> str:
    """The whole file, as it should be for this project."""
    example = project.example
    told = comments(example)
    native = make_settings({}, {}, datetime(2026, 1, 1, tzinfo=UTC)).values
    lines = [_HEAD]
    seen: set[str] = set()
    for kind in settings_classes():
        rows = []
        for field, variable in kind.variables().items():
            if variable not in seen:
                seen.add(variable)
                about = kind.model_fields[field].description or told[variable]
                rows.append(
                    (variable, about, _default(kind, field), _natively(variable, native), _contained(variable, project))
                )
        if rows:
            title = re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__.removesuffix("Settings")).capitalize()
            what = inspect.cleandoc(kind.__doc__ or "").splitlines()[0].replace("``", "`")
            lines += [f"\n## {title}\n{what}\n", *_table("Variable", rows)]
    stacks = {name for name in native if name in PORTS or name in SHAPE or name.startswith(TUNABLE)} - seen
    shared = stacks & set(project.variables)
    lines += ["\n## Natively and in containers\nPorts of this machine, and the demo traffic.\n"]
    lines += _short_table(shared, told, example)
    lines += ["\n## Only the native stack\nPorts, and what it is made of.\n"]
    lines += _short_table(stacks - shared, told, example)
    lines += ["\n## Only the containers\nWhat else `docker-compose.yml` leaves to `.env`.\n"]
    lines += _short_table(documented_variables(container_section(example)).keys() - seen, told, example)
    return "\n".join(lines) + "\n"


def _table(first: str, rows: list[tuple[str, str, str, str, str]]) -> Iterator[str]:
    yield f"| {first} | what it is | default | natively | in containers |"
    yield "|---|---|---|---|---|"
    for variable, about, *values in rows:
        yield f"| `{variable}` | {_cell(about)} | {' | '.join(map(_cell, values))} |"


def _short_table(names: Set[str], told: Mapping[str, str], example: str) -> Iterator[str]:
    yield "| variable | what it is | default |"
    yield "|---|---|---|"
    for variable, value in documented_variables(example).items():
        if variable in names:
            yield f"| `{variable}` | {_cell(told[variable])} | {_cell(_code(value))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _default(kind: type[Concern], field: str) -> str:
    info = kind.model_fields[field]
    return "required" if info.is_required() else _code(str(info.default)) or "empty"


def _natively(variable: str, native: Mapping[str, str]) -> str:
    if variable in SECRETS:
        return "generated"
    if variable == "ETAR_PIPELINE_START_DATE":
        return "the first start"
    if variable in ("ETAR_DASHBOARD_AIRFLOW_URL", "ETAR_DASHBOARD_URL"):
        return "the stack's own"
    value = native.get(variable, "").replace(str(Path(".etar").absolute()), "DIR")
    return _code(value) or "the default"


def _contained(variable: str, project: Project) -> str:
    """What the services are given: the value as it is written in docker-compose.yml, or the file of a secret."""
    given = {
        service.written_environment[variable] for service in project.services if variable in service.written_environment
    }
    if given:
        return ", ".join(_code(_left_open(value, project)) for value in sorted(given))
    name = variable.lower()
    if any(name in service.secrets for service in project.services):
        return f"file `secrets/{name}`"
    return "the default"


def _left_open(value: str, project: Project) -> str:
    """What ``.env.example`` gives where docker-compose.yml names a variable, else the value itself."""
    name = re.fullmatch(r"\$\{(\w+)[:?-].*\}", value)
    return documented_variables(project.example)[name[1]] if name else value


def comments(example: str) -> Mapping[str, str]:
    """The comment right above each variable of an ``.env.example``; an empty one ends what is said of several."""
    told: dict[str, str] = {}
    comment: list[str] = []
    for line in example.splitlines():
        if variable := re.match(r"(?:# )?([A-Z]\w+)=", line):
            told[variable[1]] = " ".join(comment)
            comment = []
        elif line.startswith("# ") and not line.startswith("# ---"):
            comment.append(line.removeprefix("# "))
        else:
            comment = []
    return told


def main() -> None:
    FILE.write_text(render(read_project(REPOSITORY)))


if __name__ == "__main__":
    main()
