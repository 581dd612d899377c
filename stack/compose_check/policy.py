"""Every rule of ours, over one project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from stack.compose_check import (
    builds,
    entry_points,
    files,
    images,
    plaintext,
    services,
    tmpfs,
    tools,
    variables,
    versions,
)
from stack.compose_check.findings import Finding
from stack.compose_check.project import Project
from stack.container_secrets import DRAWN, FOLLOWING

Rule = Callable[[Project], Iterator[Finding]]

_CONFIGURATION = {".cnf", ".conf", ".ini", ".json", ".properties", ".sh", ".toml", ".xml", ".yaml", ".yml"}


def _mounted_files_exist(project: Project) -> Iterator[Finding]:
    return files.mounted_files_exist(project, frozenset(DRAWN) | frozenset(FOLLOWING))


def _configuration_holds_no_secret(project: Project) -> Iterator[Finding]:
    return plaintext.configuration_holds_no_secret(project, tuple(_configuration_files(project.root / "docker")))


def _configuration_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.suffix in _CONFIGURATION and file.is_file())


RULES: tuple[Rule, ...] = (
    images.images_are_pinned,
    images.images_exist,
    versions.versions_agree,
    services.services_have_health_checks,
    tools.health_tools_exist,
    services.order_follows_health,
    services.services_restart_and_stop,
    services.logs_rotate,
    services.memory_fits,
    services.ports_are_private,
    services.workers_scale,
    tmpfs.folders_belong_to_who_writes,
    tmpfs.java_may_load_libraries,
    plaintext.secrets_stay_in_files,
    _configuration_holds_no_secret,
    _mounted_files_exist,
    files.builds_find_their_files,
    files.builds_leave_out_private_files,
    entry_points.entry_points_exist,
    entry_points.our_files_exist,
    builds.packages_are_pinned,
    builds.additions_have_checksums,
    builds.nobody_is_root,
    variables.variables_are_documented,
    variables.settings_are_known,
)


def check_policy(project: Project) -> list[Finding]:
    """Everything that our own rules find."""
    return sorted({finding for rule in RULES for finding in rule(project)})
