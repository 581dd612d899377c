"""docs/commands.md: every command with its options, as the command itself has them, and the exit codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from cli.main import COMMANDS
from handbook.tables import table

_HEAD = """\
# Commands

```
etar verify --from 2026-11-21T10:31Z     # in containers: docker compose run --rm etar verify --from …
```

Every command has `--help`. One that looks at a stack takes `--dir FOLDER`, or `ETAR_DIR`: the stack's folder, `.etar`
if left out. Without a stack there, settings come from the environment.

`--json` prints what a program reads, on stdout alone. Where a command takes long, a bar on stderr says how far it is:
on a terminal only, never in a pipe, in CI (`CI` is set) or beside `--json`.

`etar --install-completion` has your shell complete commands, options, streams and parts with Tab;
`etar --show-completion` prints what it would install.

This page is generated: `make reference` writes it, and a test says when it is out of date.

## Exit codes
"""

_EXIT_CODES = (
    ("0", "done; what was asked about is well"),
    ("1", "refused or failed, with one line on stderr that says why; or not well: a difference, a part that is not "
          "healthy, a letter that was refused, a fault in a stream's folder; or you answered no"),
    ("2", "not understood: no such command, option or value. `etar connect diff`: a connector is not as its file says. "
          "`etar produce`: it could not start"),
    ("3", "`etar produce --input`: some lines were rejected, or will be refused for their time; all others arrived. "
          "`etar alerts`, `etar trace`: nobody knows, as a place that would is away"),
    ("130", "interrupted, by Ctrl-C or SIGTERM"),
    ("any", "`etar exec`: the exit code of what it ran. `etar logs`: of `tail`"),
)  # fmt: skip

_MOST_CHOICES = 6

_BEHIND = """\
Ctrl-C is how `etar up`, `etar produce` and `etar status --watch` are stopped, and ends them with 0; `etar up --detach`
ends with 130.

An import that was stopped before its end is 1, and so is one in which no line can become an event of a report.
"""


def render() -> str:
    """The whole page."""
    lines = [_HEAD, *table("code", "means", rows=_EXIT_CODES), _BEHIND]
    for name, each in COMMANDS.items():
        lines += _section(name, each.load(name))
    return "\n".join(lines)


def _section(name: str, command: Any, level: int = 2) -> Iterator[str]:
    """Of a command, or of a group and each of its commands."""
    context = typer.Context(command, info_name=name)
    yield f"{'#' * level} etar {name}\n"
    yield from (f"{paragraph}\n" for paragraph in _paragraphs(command.help))
    if own := getattr(command, "commands", None):
        for inner in own:
            yield from _section(f"{name} {inner}", own[inner], level + 1)
        return
    shown = [each for each in command.params if each.name != "folder"]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    yield from table("argument", "what it is", rows=[_argument(each, context) for each in arguments])
    options = [each for each in shown if each.param_type_name == "option"]
    yield from table("option", "what it is", rows=[_option(each, context) for each in options])


def _paragraphs(text: str) -> list[str]:
    """Of a help text, each in one line."""
    return [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n")]


def _argument(parameter: Any, context: typer.Context) -> tuple[str, str]:
    name = parameter.metavar or parameter.name.upper()
    about = parameter.get_help_record(context)[1].removesuffix("  [required]")
    name = name.replace(" | ", " or ")
    return f"`{name}`" if parameter.required or "[" in name else f"`[{name}]`", about


def _option(parameter: Any, context: typer.Context) -> tuple[str, str]:
    """A row: ``--json`` stays, ``--limit <int range>`` is ``--limit N``; of many values only their number is told."""
    name, about = parameter.get_help_record(context)
    about, _, terms = about.partition("  [")
    told = [_terms(terms)] if terms else []
    if choices := re.search(r"<(?:list\[)?([a-z_-]+(?:\|[a-z_-]+)+)\]?>", name):
        many = choices[1].count("|") + 1
        name = name.replace(choices[0], choices[1] if many <= _MOST_CHOICES else parameter.name.upper())
        told += [f"one of the {many} that `--help` lists"] if many > _MOST_CHOICES else []
    name = re.sub(r"<(?:int|float)(?: range)?>", "N", name)
    name = re.sub(r"<path>", "PATH", name)
    name = re.sub(r"<(?:list\[str\]|str)>", "TEXT", name)
    name = name.replace("|", "/")  # within a table's code some show the backslash that a bar needs
    return f"`{name}`", about + (f" ({'; '.join(told)})" if told else "")


def _terms(text: str) -> str:
    """``default: 100; x>=0`` as a reader says it."""
    text = text.removesuffix("]")
    text = re.sub(r"default: \((.*?)\)(?=$|;)", r"default: \1", text)
    text = re.sub(r"(\d\S*)<=x<=(\S+)", r"\1 to \2", text)
    return re.sub(r"x>=(\S+)", r"at least \1", text)
