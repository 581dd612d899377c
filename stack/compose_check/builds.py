"""What the Dockerfiles may do: install what is pinned, fetch what has a checksum, end as a user that is not root."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service

NOT_ROOT_BY_ITSELF = {
    "apache/kafka": "the image's USER is appuser",
    "confluentinc/cp-schema-registry": "the image's USER is appuser",
    "confluentinc/cp-kafka-connect": "the image's USER is appuser",
    "prom/prometheus": "the image's USER is nobody",
    "grafana/grafana": "the image's USER is 472",
    "ghcr.io/kafbat/kafka-ui": "the image's USER is kafkaui",
}
"""Images of others whose own USER line is not root, as their Dockerfiles say."""

_INSTALLS = {
    "pip": re.compile(r"\bpip3?\s+install\b(?P<rest>[^&;|]*)"),
    "npm": re.compile(r"\bnpm\s+(?:install|i)\s+(?P<rest>[^&;|]*)"),
    "go": re.compile(r"\bgo\s+install\s+(?P<rest>[^&;|]*)"),
}
_WITH_A_VALUE = {
    "-r",
    "--requirement",
    "-c",
    "--constraint",
    "--excludes",
    "--prefix",
    "--python",
    "--target",
    "-ldflags",
}
_APT = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b(?P<rest>[^&;|]*)")
_FETCH = re.compile(r"\b(curl|wget)\b[^&;|]*https?://")


def packages_are_pinned(project: Project) -> Iterator[Finding]:
    """Python, npm and Go packages by exact version; Debian's by the base image, whose exact tag names the release.

    A Debian package is not pinned by version: its mirrors keep only the newest one of a release, so that a pinned
    install line stops building at the next security update. The release itself never changes a package's behaviour.
    """
    for path, dockerfile in project.dockerfiles.items():
        for stage in dockerfile.stages:
            for run in stage.of("RUN"):
                for wrong, remedy in unpinned(run.text):
                    yield Finding(path, f"line {run.line}", "package-pinned", wrong, remedy)


def unpinned(command: str) -> Iterator[tuple[str, str]]:
    """What a RUN line installs or fetches that can change, and what to do about it."""
    for tool, pattern in _INSTALLS.items():
        for found in pattern.finditer(command):
            if "--require-hashes" in found["rest"]:
                continue
            loose = [word for word in _packages(found["rest"]) if not _is_exact(word)]
            if loose:
                yield (
                    f"{tool} installs {', '.join(loose)} in whatever version is newest",
                    "name an exact version, or install from the lock with --require-hashes",
                )
    for found in _APT.finditer(command):
        if "--no-install-recommends" not in found["rest"] + command:
            yield "apt-get installs more than is asked for", "add --no-install-recommends"
    if _FETCH.search(command) and not re.search(r"sha(256|512)sum\s+(-c|--check)", command):
        yield "it fetches a file without comparing its checksum", "pipe its known sha256 to sha256sum --check"


def _packages(rest: str) -> list[str]:
    """The packages that an install line names; options, their values and local paths are none."""
    words = shlex.split(rest)
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith(("-", ".", "/", "$")) and before not in _WITH_A_VALUE
    ]


def _is_exact(package: str) -> bool:
    return bool(re.search(r"==[\w.]+$|@v?\d+\.\d+\.\d+[\w.+-]*$|==\$\{?\w+\}?$|@\$\{?\w+\}?$", package))


def additions_have_checksums(project: Project) -> Iterator[Finding]:
    for path, dockerfile in project.dockerfiles.items():
        for stage in dockerfile.stages:
            for add in stage.of("ADD"):
                if "://" in add.text and "--checksum=" not in add.text:
                    yield Finding(
                        path,
                        f"line {add.line}",
                        "download-checked",
                        "what is fetched may change",
                        "add --checksum=sha256:…",
                    )


def nobody_is_root(project: Project) -> Iterator[Finding]:
    for service in project.services:
        user = user_of(project, service)
        if user in ("", "0", "root"):
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "not-root",
                "its processes run as root" if user else "nothing says that its processes do not run as root",
                "set user:, or USER in its Dockerfile",
            )


def user_of(project: Project, service: Service) -> str:
    """Who a service's processes run as: name, number, "its own" for a known image's, or empty when unknown."""
    return str(service.config.get("user", "")).split(":")[0] or _image_user(project, service)


def _image_user(project: Project, service: Service) -> str:
    stages = project.stages_of(service)
    for one in stages:
        if users := one.of("USER"):
            return users[-1].text.split(":")[0]
    base = stages[-1].base.split(":")[0] if stages else service.repository
    return "its own" if base in NOT_ROOT_BY_ITSELF else ""
