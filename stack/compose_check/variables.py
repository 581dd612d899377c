"""``docker-compose.yml`` and ``.env.example`` name the same variables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, EXAMPLE, Project, documented_variables
from stack.settings_classes import settings_classes

SECTION = "# --- Containers"
"""The line of ``.env.example`` with which the variables of ``docker-compose.yml`` begin."""

NOT_OF_A_PART = {"ETAR_DEMO_RATE"}
"""Variables that a service's own command uses; no part of etar reads them."""

OF_COMPOSE_ITSELF = "COMPOSE_"
"""What Compose's own program reads: its project name, its profiles."""


def container_section(example: str) -> str:
    """The part of ``.env.example`` that is about containers only; empty when there is none."""
    found = re.search(rf"^{SECTION}.*?(?=^# --- |\Z)", example, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def variables_are_documented(project: Project) -> Iterator[Finding]:
    known = documented_variables(project.example)
    for name in sorted(set(project.variables) - set(known)):
        yield Finding(
            COMPOSE_FILE,
            name,
            "variable-documented",
            f"the variable is used and not in {EXAMPLE}",
            f"add it there, with its default and what it is, under {SECTION!r}",
        )
    for name in sorted(set(documented_variables(container_section(project.example))) - set(project.variables)):
        if not name.startswith(OF_COMPOSE_ITSELF):
            yield Finding(
                EXAMPLE,
                name,
                "variable-used",
                f"it is documented as a variable of the containers, and {COMPOSE_FILE} does not use it",
                "remove it, or mend its name",
            )


def settings_are_known(project: Project) -> Iterator[Finding]:
    """A misspelt setting would be passed over in silence, and its default taken."""
    known = {variable for kind in settings_classes() for variable in kind.variables().values()} | NOT_OF_A_PART
    for service in project.services:
        for name in service.environment:
            if name.startswith("ETAR_") and name not in known:
                yield Finding(
                    COMPOSE_FILE,
                    service.name,
                    "setting-known",
                    f"no part of etar reads {name}",
                    "mend its name (plugins/etar/settings.py), or remove it",
                )
