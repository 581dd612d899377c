"""What the commands share: which stack is meant, its settings, and how an expected error is shown."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from pydantic import ValidationError

from etar.minute import NotOneMinuteError
from etar.streams import StreamFaultError, UnknownStreamError, catalogue
from stack.configuration import PortTakenError, SettingsError, read_settings
from stack.layout import Layout
from stack.lifecycle import StartError
from stack.parts import Stack

Folder = Annotated[
    Path,
    typer.Option("--dir", envvar="ETAR_DIR", help="Folder of the stack: its settings, data and logs."),
]
DEFAULT_FOLDER = Path(".etar")


def stream_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The streams whose name begins like this, for a shell's Tab; none where settings cannot be read, since a shell
    would show the error in the midst of what is being typed."""
    try:
        use_settings_of(ctx.params.get("folder") or DEFAULT_FOLDER)
        return [name for name in catalogue().streams if name.startswith(incomplete)]
    except OSError:
        return []


StreamName = Annotated[
    str,
    typer.Option(
        "--stream", metavar="NAME", help="The stream, as `etar stream list` has it.", autocompletion=stream_names
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def existing_stack(folder: Path) -> Stack:
    """The stack in ``folder``.

    Raises:
        SettingsError: there is none yet.
    """
    layout = Layout.at(folder)
    return Stack(layout, read_settings(layout.settings_file))


def use_settings_of(folder: Path, *prefixes: str) -> None:
    """Let the settings classes see the stack's variables of these prefixes, and which streams it has; what the
    environment already says wins."""
    try:
        stack = existing_stack(folder)
    except SettingsError:
        return  # a cluster, say: everything comes from the environment, and what is missing is named there
    for name, value in stack.settings.starting_with("ETAR_STREAMS", *prefixes).items():
        os.environ.setdefault(name, value)


def in_stack(command: Callable[..., None], *prefixes: str) -> Callable[..., None]:
    """The same command with ``--dir``: it runs with that stack's settings of these prefixes."""
    hints = get_type_hints(command, include_extras=True)
    if "stream" in hints:  # a part's own command knows nothing of this module
        hints["stream"].__metadata__[0].autocompletion = stream_names
    signature = inspect.signature(command)
    parameters = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
    folder = inspect.Parameter("folder", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_FOLDER, annotation=Folder)

    def with_folder(*, folder: Path, **arguments: Any) -> None:
        use_settings_of(folder, *prefixes)
        command(**arguments)

    with_folder.__name__, with_folder.__doc__ = command.__name__, command.__doc__
    # Typer reads a command's options from its signature.
    with_folder.__signature__ = signature.replace(parameters=[*parameters, folder])  # type: ignore[attr-defined]
    with_folder.__annotations__ = {p.name: p.annotation for p in [*parameters, folder]}
    return with_folder


PLACES = (
    "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_S3_", "ETAR_API_", "ETAR_REPORT_STORE_",
    "ETAR_PIPELINE_", "ETAR_RECONCILE_",
)  # fmt: skip
"""Prefixes of the settings that `etar verify` needs to reach the places it compares, and to repair them."""


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an expected error as one line instead of a traceback, and exit with 1."""
    try:
        yield
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors(include_input=False))
        fail(f"{error.title}: {problems}. Give it in the environment, or --dir the folder of a stack")
    except (
        NotOneMinuteError,
        PortTakenError,
        SettingsError,
        StartError,
        StreamFaultError,
        TimeoutError,
        UnknownStreamError,
    ) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Say what is wrong on stderr and exit with 1."""
    typer.secho(f"etar: {message}", err=True, fg="red")
    raise typer.Exit(1)
