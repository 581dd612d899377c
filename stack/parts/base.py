"""What the native stack is made of: parts that keep running, and steps that are done once on the way up."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from etar.settings import StreamSettings
from etar.streams import Catalogue, Stream, catalogue
from stack.configuration import Settings
from stack.layout import VENV_BIN, Layout
from stack.processes import STACK_MARK


@dataclass(frozen=True)
class Stack:
    """One stack: where its files are and how it is set."""

    layout: Layout
    settings: Settings

    @property
    def catalogue(self) -> Catalogue:
        """The streams that its settings name, and what is wrong with their folders."""
        return catalogue(self.settings.of(StreamSettings))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Those that it reports on."""
        return self.catalogue.on

    @property
    def base_environment(self) -> dict[str, str]:
        """What every part is given: the caller's paths and locale, which streams there are, and never the rest of the
        caller's environment."""
        kept = {k: os.environ[k] for k in ("HOME", "LANG", "TMPDIR", "JAVA_HOME", "USER") if k in os.environ}
        return kept | {
            "PATH": f"{VENV_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            # So that a process left behind by a crash can be found and stopped. Airflow's processes give themselves
            # titles, which setproctitle would write over the environment that the mark is read from.
            STACK_MARK: str(self.layout.root),
            "SPT_NOENV": "1",
            **self.settings.starting_with("ETAR_STREAMS"),
        }


Check = Callable[[Stack], bool]


@dataclass(frozen=True)
class Part:
    """A process of the stack.

    ``require`` runs before anything of the stack is started, and raises SettingsError for what a start cannot do
    without: a program that is missing, data that was made for another shape. ``prepare`` runs in the part's own process
    before it becomes the part, at every start. ``ready`` says whether the part answers; it may raise, which counts as
    no. ``run_as`` is a user id for a program that refuses to run as root. ``stream`` is the one that the part belongs
    to: where it does not come up, that stream is left out and the others are started.
    """

    name: str
    command: Callable[[Stack], list[str]]
    ready: Check
    needs: tuple[str, ...] = ()
    environment: Callable[[Stack], dict[str, str]] = lambda _: {}
    prepare: Callable[[Stack], None] | None = None
    address: Callable[[Stack], str | None] = lambda _: None
    run_as: int | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    enabled: Check = lambda _: True
    require: Callable[[Stack], None] = lambda _: None
    stream: str | None = None


@dataclass(frozen=True)
class Step:
    """Something done once on the way up, repeatable: a topic, a schema, a bucket. ``stream`` is as for a part."""

    name: str
    action: Callable[[Stack], None]
    needs: tuple[str, ...] = field(default=())
    enabled: Check = lambda _: True
    stream: str | None = None


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


class Answer(NamedTuple):
    """What a part answered: HTTP's status, and the body."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return self.status // 100 == 2

    def json(self) -> Any:
        return json.loads(self.body)


def get(url: str, *, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
    """A part's answer, over plain HTTP. Not by httpx, whose import takes longer than all that `etar status` asks.

    Raises:
        OSError, http.client.HTTPException: none came within ``timeout`` seconds.
    """
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=timeout)) as connection:
        connection.request("GET", parts._replace(scheme="", netloc="").geturl() or "/", headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())


def answers(url: str, *, timeout: float = 2) -> bool:
    """Whether a GET of ``url`` is answered with a success, within ``timeout`` seconds."""
    try:
        return get(url, timeout=timeout).is_success
    except (OSError, http.client.HTTPException):
        return False


def write_if_changed(file: Path, text: str) -> None:
    """Write a generated file, private to its owner, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.read_text() != text:
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.touch(0o600)
        draft.write_text(text)
        draft.replace(file)
