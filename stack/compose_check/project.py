"""The containers as Compose itself understands them, with the files that its file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.compose_check.dockerfile import Dockerfile, Stage

COMPOSE_FILE = "docker-compose.yml"
EXAMPLE = ".env.example"

Json = Mapping[str, Any]

_JOB_RESTARTS = ("no", "on-failure")


@dataclass(frozen=True)
class Service:
    """One service: ``config`` with variables filled in, ``raw`` as it was written."""

    name: str
    config: Json
    raw: Json

    @property
    def image(self) -> str:
        return str(self.config.get("image", ""))

    @property
    def repository(self) -> str:
        """The image's name without tag and digest."""
        return split_image(self.image)[0]

    @property
    def is_built(self) -> bool:
        return "build" in self.config

    @property
    def is_job(self) -> bool:
        """Whether it is meant to end: Compose does not start it again after a success."""
        return str(self.config.get("restart", "no")).startswith(_JOB_RESTARTS)

    @property
    def is_default(self) -> bool:
        """Whether ``docker compose up`` without a profile starts it."""
        return not self.config.get("profiles")

    @property
    def environment(self) -> Mapping[str, str]:
        return {name: str(value or "") for name, value in (self.config.get("environment") or {}).items()}

    @property
    def written_environment(self) -> Mapping[str, str]:
        """The environment as it was written, with variables not filled in; a list there is one here no longer."""
        written = self.raw.get("environment") or {}
        if isinstance(written, list):
            return {name: value for name, _, value in (str(one).partition("=") for one in written)}
        return {name: str(value or "") for name, value in written.items()}

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(str(secret["source"]) for secret in self.config.get("secrets") or ())

    @property
    def secret_files(self) -> dict[str, str]:
        """The secret of each file that the container has in ``/run/secrets``, by the file's name."""
        mounted = self.config.get("secrets") or ()
        names = {str(secret.get("target") or secret["source"]): str(secret["source"]) for secret in mounted}
        inside = {name.removeprefix("/run/secrets/"): source for name, source in names.items()}
        return {name: source for name, source in inside.items() if "/" not in name}

    def words(self, key: str) -> tuple[str, ...]:
        """A command line of the service (``command``, ``entrypoint``) as Compose would run it."""
        return tuple(str(word) for word in self.config.get(key) or ())

    @property
    def health_test(self) -> tuple[str, ...]:
        return tuple(str(word) for word in (self.config.get("healthcheck") or {}).get("test") or ())


@dataclass(frozen=True)
class Project:
    """Everything the rules look at."""

    root: Path
    config: Json
    raw: Json
    variables: Mapping[str, Json]
    """Every variable that the file uses, as ``docker-compose config --variables`` lists it."""
    example: str
    dockerfiles: Mapping[str, Dockerfile]
    """By path below ``root``."""

    @property
    def services(self) -> tuple[Service, ...]:
        raw = self.raw.get("services") or {}
        return tuple(
            Service(name, config, raw.get(name) or {}) for name, config in (self.config.get("services") or {}).items()
        )

    def relative(self, path: str) -> Path | None:
        """``path`` below the repository, or None for one outside."""
        whole = Path(path)
        return whole.relative_to(self.root) if whole.is_relative_to(self.root) else None

    def dockerfile_of(self, service: Service) -> tuple[str, Dockerfile] | None:
        """The Dockerfile that a service is built from, by its path below the repository."""
        build = service.config.get("build") or {}
        path = self.relative(str(Path(build.get("context", self.root)) / build.get("dockerfile", "Dockerfile")))
        found = self.dockerfiles.get(str(path))
        return (str(path), found) if found else None

    def stages_of(self, service: Service) -> tuple[Stage, ...]:
        """The stage that an image of ours is and those it is built upon, nearest first; none of an image of others."""
        found = self.dockerfile_of(service)
        stage = found[1].stage(service.config["build"].get("target")) if found else None
        return found[1].lineage(stage) if found and stage else ()


def split_image(image: str) -> tuple[str, str, str]:
    """Repository, tag and digest of an image's name; tag and digest may be empty."""
    name, _, digest = image.partition("@")
    matched = re.fullmatch(r"(?P<repository>.+?)(?::(?P<tag>[^:/]+))?", name)
    return (matched["repository"], matched["tag"] or "", digest) if matched else (name, "", digest)


def documented_variables(example: str) -> Mapping[str, str]:
    """The variables of an ``.env.example``; one that is commented out counts as documented."""
    return dict(re.findall(r"^(?:# )?([A-Z]\w+)=(.*)$", example, re.MULTILINE))
