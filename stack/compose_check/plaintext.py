"""No secret where it can be read: in the file, in a container's environment, in a process's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service

_REMEDY = "keep it in a file under secrets/ and hand over its path (/run/secrets/NAME)"

_SECRET_NAME = re.compile(r"(^|[_.-])(PASSWORD|PASSWD|PASS|SECRET|TOKEN|KEY|CREDENTIALS?)S?$", re.IGNORECASE)
_BY_REFERENCE = re.compile(r"/run/secrets/[\w.-]+|\$\{(file|directory|secrets):[^}]+\}|cat /run/secrets/[\w.-]+")

_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:(?!\$\{(?:file|directory))[^/\s@]+@")
_GENERATED = re.compile(
    r"(?<![\w/:.-])(?:[0-9a-f]{32,}|(?=[\w+-]*\d)(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])[A-Za-z0-9+_-]{32,}={0,2})(?![\w/.-])"
)
_IN_ARGUMENTS = re.compile(
    r"(?:^|\s)(?:--?(?:password|passwd|pass|secret(?:-key)?|token|requirepass)(?:=|\s+)|-a\s+)(?!/run/secrets/|-)(\S+)",
    re.IGNORECASE,
)
_IN_CONFIGURATION = re.compile(
    r"^\s*(?!#|//|;|<!--)[\w.<-]*(?:password|passwd|secret|token|requirepass)\b\s*(?:=|:|>|\s)\s*(?P<value>[^\s<#]+)",
    re.IGNORECASE | re.MULTILINE,
)


def looks_generated(text: str) -> bool:
    """Whether ``text`` holds what a generator of passwords makes: long, and of nothing but digits and letters."""
    return bool(_GENERATED.search(text))


def shows_a_secret(line: str) -> bool:
    """Whether a command line holds a secret or reads one into its arguments, which every process list shows."""
    return bool(_URL_WITH_PASSWORD.search(line) or looks_generated(line) or _IN_ARGUMENTS.search(line))


def secrets_stay_in_files(project: Project) -> Iterator[Finding]:
    for service in project.services:
        yield from _in_environment(service)
        yield from _in_words(service)


def _in_environment(service: Service) -> Iterator[Finding]:
    # As written, not as filled in: a variable of .env that is empty there is a secret in the environment all the same.
    written = service.written_environment
    for name, value in service.environment.items():
        given = written.get(name) or value
        if _SECRET_NAME.search(name) and given and not _BY_REFERENCE.fullmatch(given):
            yield Finding(
                COMPOSE_FILE, service.name, "plain-secret", f"{name} puts a secret in its environment", _REMEDY
            )
        elif _URL_WITH_PASSWORD.search(value):
            yield Finding(COMPOSE_FILE, service.name, "plain-secret", f"{name} has a password in its URL", _REMEDY)
        elif looks_generated(value):
            yield Finding(
                COMPOSE_FILE, service.name, "plain-secret", f"{name} has a value that looks generated", _REMEDY
            )


def _in_words(service: Service) -> Iterator[Finding]:
    lines = {
        "command": " ".join(service.words("command")),
        "entrypoint": " ".join(service.words("entrypoint")),
        "healthcheck": " ".join(service.health_test),
        "labels": " ".join(f"{name}={value}" for name, value in (service.config.get("labels") or {}).items()),
    }
    for key, line in lines.items():
        if shows_a_secret(line):
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "plain-secret",
                f"its {key} holds a secret, which every process list shows",
                _REMEDY,
            )


def configuration_holds_no_secret(project: Project, files: tuple[Path, ...]) -> Iterator[Finding]:
    """The same for the configuration files that are mounted or copied into containers."""
    for file in files:
        for found in _IN_CONFIGURATION.finditer(file.read_text()):
            if not _is_reference(found["value"]):
                line = file.read_text().count("\n", 0, found.start("value")) + 1
                yield Finding(
                    str(file.relative_to(project.root)),
                    f"line {line}",
                    "plain-secret",
                    "a secret stands in a configuration file",
                    _REMEDY,
                )


def _is_reference(value: str) -> bool:
    return value.startswith(("/run/secrets/", "${", "$(", "@", '"${', "file:")) or value in ("", '""', "''", "null")
