"""``etar dead-letters``: see bad records, repair them, send them again, or give them up."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DEFAULT_FOLDER, AsJson, Folder, StreamName, errors_shown, fail, use_settings_of
from cli.lazy import Group
from etar.dead_letter_office.repair import HookError, InvalidPatchError, Repair, hook_repair, patch_repair
from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId, Selection, State, Summary, UnknownLetterError
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.progress import Told, progress_bar, say_nothing
from etar.settings import DeadLetterSettings, get_settings
from etar.streams import DEFAULT_STREAM, stream_named
from etar.text import hex_lines, printable

if TYPE_CHECKING:  # the decoder and the warehouse's client take a second to load, which other commands need not pay
    from etar.dead_letter_office.document import Document
    from etar.dead_letter_office.office import Dossier, Office, Outcome

app = typer.Typer(
    help="Bad records: see them, repair them, send them again, give them up. Nothing changes without --apply.",
    no_args_is_help=True,
    cls=Group,
)

_SETTINGS = (
    "ETAR_KAFKA_",
    "ETAR_REGISTRY_",
    "ETAR_WAREHOUSE_",
    "ETAR_REPORT_STORE_",
    "ETAR_PIPELINE_",
    "ETAR_DEAD_LETTERS_",
)
_SHOWN_OUTCOMES = 20
_SHOWN_BYTES = 1024

Ids = Annotated[list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]…", help="Single letters, like 3:1042.")]
Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Only this reason; may be repeated.")]
From = Annotated[str | None, typer.Option("--from", help="Appended at or after, like 2026-11-21T10:31Z.")]
To = Annotated[str | None, typer.Option("--to", help="Appended before, like 2026-11-21T10:32:30Z.")]
All = Annotated[bool, typer.Option("--all", help="Every letter, where nothing else says which.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without this, only say what would be done.")]
Patch = Annotated[str | None, typer.Option(help="JSON patch (RFC 6902) of the record's fields.", metavar="JSON")]
PatchFile = Annotated[Path | None, typer.Option(help="File with a JSON patch.", metavar="FILE", dir_okay=False)]
Hook = Annotated[bool, typer.Option("--hook", help="Repair with the function that ETAR_DEAD_LETTERS_HOOK names.")]
Log = Annotated[
    int | None, typer.Option("--log", min=1, metavar="N", help="Letters of the topic's Nth log that has ended.")
]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
SchemaId = Annotated[int | None, typer.Option(help="Schema to write with; the subject's latest if left out.")]


@app.command("list")
def list_(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    from_: From = None,
    to: To = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="unfiled, open, replayed, discarded or all; unfiled and open if left out, all with --summary."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Print at most so many; 0 for all.", min=0)] = 100,
    summary: Annotated[bool, typer.Option("--summary", help="Count by reason and state instead.")] = False,
    as_json: AsJsonLines = False,
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print dead letters, the oldest first."""
    with _office(folder, stream, log) as office:
        for former, letters in office.former_logs().items():
            number = former.rpartition("@")[2]
            typer.echo(f"{former}, a log that has ended, has {letters:,} letters of its own: --log {number}", err=True)
        # A letter that is asked for by its name is printed whatever became of it.
        left_out = frozenset() if summary or ids else {State.UNFILED, State.OPEN}
        selection = _selection(ids, reason, from_, to, _states(state) if state else left_out)
        if summary:
            _print_counts(office.count(selection), as_json=as_json)
            return
        found = office.find(selection)
        for letter, its_state in islice(found, limit or None):
            typer.echo(_line_of_json(letter, its_state) if as_json else _line(letter, its_state))
        if limit and next(found, None) is not None:
            typer.echo(f"… and more: --limit 0 prints all, --summary counts them (this was --limit {limit})", err=True)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="The letter, like 3:1042.")],
    as_json: AsJson = False,
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print everything about one letter: its bytes, its fields as far as they can be read, what was done about it."""
    from etar.dead_letter_office.document import to_json

    with _office(folder, stream, log) as office:
        dossier = office.show(LetterId.parse(letter))
        typer.echo(to_json(_dossier_as_json(dossier)) if as_json else _describe(dossier))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="File to write, one JSON object a line.")],
    *,
    reason: Reasons = None,
    from_: From = None,
    to: To = None,
    state: Annotated[str, typer.Option(help="unfiled, open, replayed, discarded or all.")] = "all",
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Write letters to a file, with their bytes in base64 and their fields."""
    with _office(folder, stream, log) as office:
        count = office.export(_selection(None, reason, from_, to, _states(state)), file)
        typer.echo(f"{count:,} dead letters written to {file}")


@app.command()
def fix(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    from_: From = None,
    to: To = None,
    everything: All = False,
    patch: Patch = None,
    patch_file: PatchFile = None,
    hook: Hook = False,
    schema_id: SchemaId = None,
    apply: Apply = False,
    as_json: AsJsonLines = False,
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Repair records and keep them for `replay`; says of each whether it would now become a row."""
    with _office(folder, stream, log) as office:
        repair = _repair(patch, patch_file, hook)
        if repair is None:
            fail("say how to repair: --patch, --patch-file or --hook")
        selection = _selection(ids, reason, from_, to, frozenset() if ids else {State.OPEN})
        _require_choice(selection, everything)
        _tell(office.fix(selection, repair, schema_id=schema_id, apply=apply), apply, as_json=as_json)


@app.command()
def replay(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    from_: From = None,
    to: To = None,
    everything: All = False,
    patch: Patch = None,
    patch_file: PatchFile = None,
    hook: Hook = False,
    schema_id: SchemaId = None,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were replayed before.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also records that become dead letters again, or count twice.")
    ] = False,
    apply: Apply = False,
    as_json: AsJsonLines = False,
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Send records through Kafka again: repaired now, or as they were fixed before, or as they are."""
    with _office(folder, stream, log) as office:
        states = {State.OPEN, State.REPLAYED} if again else {State.OPEN}
        selection = _selection(ids, reason, from_, to, frozenset() if ids else states)
        _require_choice(selection, everything)
        repair = _repair(patch, patch_file, hook)
        with progress_bar("replaying", hidden=as_json) as told:
            total = None if told is say_nothing else office.count(selection).total()
            outcomes = office.replay(
                selection, repair=repair, schema_id=schema_id, again=again, force=force, apply=apply
            )
            _tell(_counted(outcomes, total, told), apply, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None,
    *,
    reason_text: Annotated[str, typer.Option(help="Why, for whoever asks later.")],
    reason: Reasons = None,
    from_: From = None,
    to: To = None,
    everything: All = False,
    undo: Annotated[bool, typer.Option("--undo", help="Open discarded letters again.")] = False,
    apply: Apply = False,
    as_json: AsJsonLines = False,
    stream: StreamName = DEFAULT_STREAM,
    log: Log = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Give letters up: they stay listed as discarded, and are never replayed."""
    with _office(folder, stream, log) as office:
        states = {State.DISCARDED} if undo else {State.OPEN}
        selection = _selection(ids, reason, from_, to, frozenset() if ids else states)
        _require_choice(selection, everything)
        _tell(office.discard(selection, reason_text, undo=undo, apply=apply), apply, as_json=as_json)


@contextmanager
def _office(folder: Path, stream: str, log: int | None) -> Iterator[Office]:
    """The office of one stream of the stack in ``folder``, for the letters of that former ``log`` if one is given; an
    expected error ends the command with a message."""
    import psycopg

    from etar.clients import WarehouseUnavailableError
    from etar.dead_letter_office.office import UnknownSchemaError, open_office
    from etar.dead_letter_office.replay import ReplayInDoubtError
    from etar.records.column_types import UnsupportedTableError
    from etar.records.registry import RegistryUnavailableError

    with errors_shown():
        use_settings_of(folder, *_SETTINGS)
        command = shlex.join(["etar", *sys.argv[1:]])
        chosen = stream_named(stream)
        try:
            with open_office(
                chosen,
                command=command,
                say=lambda text: typer.echo(text, err=True),
                log=chosen.former_log(log) if log else None,
            ) as office:
                yield office
        except psycopg.Error as error:
            fail(f"PostgreSQL does not answer: {error}")
        except (
            HookError,
            InvalidPatchError,
            KafkaUnavailableError,
            RegistryUnavailableError,
            ReplayInDoubtError,
            UnknownLetterError,
            UnknownSchemaError,
            UnknownTopicError,
            UnsupportedTableError,
            WarehouseUnavailableError,
        ) as error:
            fail(str(error))


def _selection(
    ids: Sequence[str] | None,
    reasons: Sequence[Reason] | None,
    from_: str | None,
    to: str | None,
    states: Iterable[State],
) -> Selection:
    return Selection(
        ids=tuple(LetterId.parse(text) for text in ids or ()),
        reasons=frozenset(reasons or ()),
        first=_instant(from_) if from_ else None,
        end=_instant(to) if to else None,
        states=frozenset(states),
    )


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a time; write it like 2026-11-21T10:31Z or 2026-11-21T10:31:07.250Z")
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _states(text: str) -> frozenset[State]:
    if text == "all":
        return frozenset()
    try:
        return frozenset({State(text)})
    except ValueError:
        fail(f"--state {text}: choose unfiled, open, replayed, discarded or all")


def _require_choice(selection: Selection, everything: bool) -> None:
    if selection.everything and not everything:
        fail("say which letters: PARTITION:OFFSET…, --reason, --from, --to, or --all")


def _repair(patch: str | None, patch_file: Path | None, hook: bool) -> Repair | None:
    if sum((patch is not None, patch_file is not None, hook)) > 1:
        fail("--patch, --patch-file and --hook exclude each other")
    if patch_file is not None:
        try:
            patch = patch_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{patch_file} cannot be read: {error}")
    if patch is not None:
        return patch_repair(patch)
    return hook_repair(get_settings(DeadLetterSettings).hook) if hook else None


def _counted(outcomes: Iterable[Outcome], total: int | None, told: Told) -> Iterator[Outcome]:
    """The same, and a person who waits is told how many there have been."""
    for number, outcome in enumerate(outcomes, 1):
        told(number, total, f"{number:,} letters")
        yield outcome


def _tell(outcomes: Iterable[Outcome], applied: bool, *, as_json: bool) -> None:
    """Print what became of each letter, the first of each kind singly; exit with 1 if any was refused."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        kind = _kind(outcome)
        counts[kind] += 1
        if as_json:
            typer.echo(json.dumps({"letter": str(outcome.letter), "done": outcome.done, "what": outcome.what}))
        elif counts[kind] <= _SHOWN_OUTCOMES:
            typer.secho(f"{outcome.letter!s:>12}  {printable(outcome.what)}", fg=None if outcome.done else "red")
        elif counts[kind] == _SHOWN_OUTCOMES + 1:
            typer.echo(f"{'…':>12}  and more that are {kind}")
    if not as_json:
        typer.echo(", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "no such dead letters")
        if not applied and counts:
            typer.echo("nothing was changed: --apply does it")
    if counts["refused"]:
        raise typer.Exit(1)


def _kind(outcome: Outcome) -> str:
    return outcome.what.partition(" as ")[0] if outcome.done else "refused"


def _print_counts(counts: Counter[tuple[Reason, State]], *, as_json: bool) -> None:
    if as_json:
        table = {
            reason.value: {state.value: counts[reason, state] for state in State}
            for reason in Reason
            if any(counts[reason, state] for state in State)
        }
        typer.echo(json.dumps(table))
        return
    typer.echo(f"{'reason':<26}" + "".join(f"{state:>12}" for state in State))
    for reason in Reason:
        cells = [counts[reason, state] for state in State]
        if any(cells):
            typer.echo(f"{reason:<26}" + "".join(f"{cell:>12,}" for cell in cells))
    totals = [sum(count for (_, its), count in counts.items() if its is state) for state in State]
    typer.echo(f"{'total':<26}" + "".join(f"{total:>12,}" for total in totals))


def _line(letter: Summary, state: State) -> str:
    appended = letter.appended.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return f"{letter.id!s:>12}  {appended}  {letter.reason:<24}  {state:<9}  {printable(letter.detail)}"


def _line_of_json(letter: Summary, state: State) -> str:
    return json.dumps(
        {
            "partition": letter.id.partition,
            "offset": letter.id.offset,
            "appended": letter.appended.isoformat(timespec="milliseconds"),
            "reason": letter.reason.value,
            "detail": letter.detail,
            "state": state.value,
            "bytes": letter.size,
        },
        ensure_ascii=False,
    )


def _describe(dossier: Dossier) -> str:
    from etar.dead_letter_office.document import to_json

    letter = dossier.letter
    lines = [
        f"{LetterId.of(letter)} of {letter.topic}",
        f"  reason      {letter.reason}: {letter.detail}",
        f"  first seen  {letter.appended.isoformat(timespec='milliseconds')} (when the broker appended it)",
        f"  state       {dossier.state}",
        f"  key         {'none' if letter.key is None else letter.key.hex(' ') or 'empty'}",
        f"  headers     {_headers(dossier)}",
        f"  value       {'none' if letter.value is None else f'{len(letter.value):,} bytes'}",
        *_hex_dump(letter.value or b""),
        f"  read as     {_read_as(dossier.document)}",
    ]
    lines += [f"    {name:<14} {to_json(value)}" for name, value in dossier.document.fields.items()]
    if dossier.document.text is not None and not dossier.document.fields:
        lines.append(f"    {dossier.document.text[:_SHOWN_BYTES]}")
    if dossier.fixed is not None:
        lines += [f"  fixed       {len(dossier.fixed):,} bytes, which a replay sends", *_hex_dump(dossier.fixed)]
    for change in dossier.changes:
        when = change.changed_at.isoformat(timespec="seconds")
        lines.append(f"  {change.action:<11} {when} by {change.changed_by}: {to_json(dict(change.detail))}")
        lines.append(f"{'':14}{change.command}")
    return "\n".join(map(printable, lines))


def _headers(dossier: Dossier) -> str:
    if dossier.headers is None:
        return "not known: Kafka no longer holds the record, or does not answer"
    return ", ".join(f"{name}: {value!r}" for name, value in dossier.headers) or "none"


def _read_as(document: Document) -> str:
    schema = "" if document.schema_id is None else f", schema id {document.schema_id}"
    return f"{document.form}{schema}{f'; {document.fault}' if document.fault else ''}"


def _hex_dump(raw: bytes) -> Iterator[str]:
    yield from (f"    {line}" for line in hex_lines(raw, _SHOWN_BYTES))
    if len(raw) > _SHOWN_BYTES:
        yield f"    … {len(raw) - _SHOWN_BYTES:,} bytes more (`export` has all)"


def _dossier_as_json(dossier: Dossier) -> dict[str, object]:
    """For :func:`etar.dead_letter_office.document.to_json`, which writes bytes among the fields."""
    letter, document = dossier.letter, dossier.document
    return {
        **letter.heading(),
        "state": dossier.state.value,
        "key": None if letter.key is None else letter.key.hex(),
        "headers": None
        if dossier.headers is None
        else [[name, None if value is None else value.decode("latin-1")] for name, value in dossier.headers],
        "value": None if letter.value is None else letter.value.hex(),
        "form": document.form.value,
        "schema_id": document.schema_id,
        "fault": document.fault,
        "fields": dict(document.fields),
        "fixed": None if dossier.fixed is None else dossier.fixed.hex(),
        "changes": [
            {
                "changed_at": change.changed_at.isoformat(),
                "changed_by": change.changed_by,
                "action": change.action,
                "command": change.command,
                "detail": dict(change.detail),
            }
            for change in dossier.changes
        ],
    }
