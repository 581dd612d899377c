"""Commands whose modules are imported when they are run.

All commands together take two seconds of CPU to import, and each needs little of that: what shows the list of commands,
or runs one, must not pay for the others. So ``cli.main`` has a name and a line of help for each, and nothing else;
``tests/unit/cli/test_main.py`` sees that the line is the command's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True)
class Command:
    """A command, or a group of them, as the list of commands has it.

    Args:
        place: ``module:name`` of a function that Typer takes, or of a ``typer.Typer`` with commands of its own.
        help: the first paragraph of its own help.
        context_settings: of a function: how its arguments are read.
    """

    place: str
    help: str
    context_settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self, name: str) -> Any:
        """The command itself, as Typer's groups keep it."""
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(name, context_settings=dict(self.context_settings))(found)
        return get_command(alone)


class Group(TyperGroup):
    """A class for ``typer.Typer(cls=…)``: its help has each command's whole first paragraph, not as much as fits."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = {name: self.commands[name].help or "" for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, text.split("\n\n", maxsplit=1)[0]) for name, text in commands.items()])


def group_of(commands: Mapping[str, Command]) -> type[Group]:
    """A class for ``typer.Typer(cls=…)``: a group of these commands, by their names."""

    class Lazy(Group):
        def __init__(self, **settings: Any) -> None:
            lines: dict[str, Any] = {name: TyperCommand(name, help=each.help) for name, each in commands.items()}
            super().__init__(**settings | {"commands": lines})

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            return name, commands[name].load(name) if name else command, rest

    return Lazy
