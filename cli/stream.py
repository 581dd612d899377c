"""``etar stream``: the streams' folders, one written from a sample, checked, and compared with the running places."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import (
    DEFAULT_FOLDER,
    AsJson,
    Folder,
    errors_shown,
    existing_stack,
    fail,
    stream_names,
    use_settings_of,
)
from cli.lazy import Group
from etar.errors import PermanentError
from etar.settings import StreamSettings, get_settings
from etar.streams import DEFAULT_STREAM, Catalogue, Fault, RecordFormat, Stream, catalogue, stream_named
from etar.text import printable
from stack.configuration import SettingsError
from stack.layout import REPOSITORY
from stack.supervision import Supervisor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from etar.stream_folder.plan import Step
    from etar.stream_folder.proposal import Proposal
    from etar.stream_folder.sample import Sample

app = typer.Typer(
    help="The streams: list them, write the folder of a new one from a sample, check folders, see what would change.",
    no_args_is_help=True,
    cls=Group,
)

_PLACES = ("ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_API_")
_CONTRACT = REPOSITORY / "tests" / "streams"

StreamName = Annotated[
    str, typer.Argument(metavar="NAME", help="The stream, as its folder is named.", autocompletion=stream_names)
]
SomeStream = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="One stream; all if left out.", autocompletion=stream_names)
]


@app.command("list")
def list_streams(*, as_json: AsJson = False, folder: Folder = DEFAULT_FOLDER) -> None:
    """Show each stream: whether it is switched on, how its records are written, its topic and its folder.

    Exits with 1 if a folder has a fault.
    """
    found = _catalogue(folder)
    if as_json:
        typer.echo(json.dumps({"streams": _as_json(found), "faults": [_fault_as_json(each) for each in found.faults]}))
    else:
        _print_table(_rows(found))
        for fault in found.faults:
            typer.secho(f"{fault}", err=True, fg="red")
        for name in found.unknown:
            typer.secho(f"ETAR_STREAMS names {name!r}, and no folder defines it", err=True, fg="red")
    if found.faults or found.unknown:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The stream, as its folder will be named.")],
    *,
    like: Annotated[
        Path | None,
        typer.Option(
            help="A file of such events: JSON lines, CSV or Parquet; or their Avro schema (.avsc).", metavar="FILE"
        ),
    ] = None,
    from_topic: Annotated[
        str | None, typer.Option(help="A topic that has such events already.", metavar="TOPIC")
    ] = None,
    id_: Annotated[
        list[str] | None,
        typer.Option(
            "--id", help="Field that tells one event from another; repeat it for several; none: each record is its own."
        ),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Field that says when an event happened.")] = None,
    title: Annotated[str | None, typer.Option(help="What people see as its name.")] = None,
    format_: Annotated[
        RecordFormat | None,
        typer.Option("--format", help="How its records are written, if not as the sample suggests."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Another type for a column: amount=Float64; amount=none leaves it out.", metavar="FIELD=TYPE"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is offered.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Write the folder of a new stream from a sample of its events; nothing that is there is overwritten.

    It goes into the last of ETAR_STREAMS_FOLDERS, and passes `etar stream check`.
    """
    from etar.stream_folder.engine import NoEngineError
    from etar.stream_folder.guesses import GuessError
    from etar.stream_folder.propose import Wishes, propose
    from etar.stream_folder.sample import SampleError
    from etar.stream_folder.scaffold import NotWrittenError, require_free, write_folder

    if (like is None) == (from_topic is None):
        fail("say of what events: --like FILE or --from-topic TOPIC")
    use_settings_of(folder)
    settings = get_settings(StreamSettings)
    wishes = Wishes(
        identity=None if id_ is None else tuple(id_),
        time=time,
        title=title,
        format=format_,
        columns=dict(_column_wish(each) for each in column or ()),
    )
    with errors_shown():
        try:
            require_free(name, settings)
            sample = _sample(like, from_topic, folder)
            _tell_sample(sample)
            proposal = propose(name, sample, wishes, _AskPerson(silent=yes))
            _tell_proposal(proposal)
            written = write_folder(proposal, settings)
        except (SampleError, GuessError, NotWrittenError, NoEngineError) as error:
            fail(_printable_lines(str(error)))
    typer.secho(f"written: {written.folder}", fg="green")
    for file in sorted(each for each in written.folder.rglob("*") if each.is_file()):
        typer.echo(f"  {file.relative_to(written.folder)}")
    typer.echo(
        f"it passes `etar stream check {name}`; read stream.toml and report.sql, and switch it on: "
        f'make up STREAMS="{DEFAULT_STREAM} {name}"'
    )


@app.command()
def check(
    name: SomeStream = None,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Run the contract suite as well: the report in a local Spark.")
    ] = False,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Check folders, offline: definition, schema, table, samples, report, page and traffic.

    Exits with 1 unless all is well.
    """
    from etar.stream_folder.check import check as check_folders
    from producer.traffic_faults import traffic_faults

    try:
        streams = _catalogue(folder)
        found = check_folders(streams, [name] if name else [])
    except PermanentError as error:
        fail(str(error))
    for stream in streams.streams.values():
        if name in (None, stream.name):
            found += traffic_faults(stream)
    if as_json:
        typer.echo(json.dumps([_fault_as_json(each) for each in found]))
    else:
        for fault in found:
            kind = "warning" if fault.is_warning else "error"
            colour = "yellow" if fault.is_warning else "red"
            typer.secho(f"{kind}  {fault.rule:<10}  {printable(str(fault))}", fg=colour)
    errors = sum(not fault.is_warning for fault in found)
    if not as_json:
        warnings = len(found) - errors
        typer.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}" if found else "all is well")
    suite = _run_contract(name) if full and not errors else 0
    if errors or suite:
        raise typer.Exit(1)


@app.command()
def plan(
    name: SomeStream = None,
    *,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare folders with the running places, which stay as they are: what `etar bootstrap` would change, and what
    not.

    Exits with 1 if a change is refused, or a place could not be asked.
    """
    from etar.stream_folder.plan import Places, Standing
    from etar.stream_folder.plan import plan as plan_of

    use_settings_of(folder, *_PLACES)
    found = _catalogue(folder)
    try:
        streams = [found.named(name)] if name else list(found.on)
    except PermanentError as error:
        fail(str(error))
    steps = {stream.name: [*plan_of(stream, Places.of_environment()), _dag(stream, folder)] for stream in streams}
    if as_json:
        typer.echo(json.dumps({stream: [asdict(step) for step in own] for stream, own in steps.items()}))
    else:
        for stream, own in steps.items():
            typer.echo(f"{stream}:")
            _print_steps(own)
    wrong = (Standing.REFUSED, Standing.NOT_ASKED)
    if any(step.standing in wrong for own in steps.values() for step in own):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of stream.toml, for editors that complete and check as one writes."""
    from etar.streams.stream_toml import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_steps(steps: Sequence[Step]) -> None:
    width = max(len(step.place) for step in steps)
    colours = {"changes": "yellow", "to write": "yellow", "refused": "red", "not asked": "red"}
    for step in steps:
        line = f"  {step.place:<{width}}  {step.standing:<9}  {printable(step.what)}"
        typer.secho(line, fg=colours.get(step.standing))
        for detail in step.text.rstrip().split("\n") if step.text else ():
            typer.echo(f"      {printable(detail)}")


def _dag(stream: Stream, folder: Path) -> Step:
    """Of the stack's own Airflow; another's is not known here."""
    from cli.repair import Airflow, AirflowUnavailableError
    from etar.stream_folder.plan import Standing, Step
    from stack.configuration import SettingsError

    place = f"DAG {stream.dag_id}"
    try:
        with Airflow(existing_stack(folder)) as scheduler:
            found = scheduler.dag(stream.dag_id)
    except (AirflowUnavailableError, SettingsError) as error:
        return Step(place, Standing.NOT_ASKED, f"it could not be asked: {error}")
    if found is None or found.get("is_stale"):
        return Step(place, Standing.CHANGES, "is made, when the stream is switched on (ETAR_STREAMS)")
    return Step(place, Standing.SAME, "paused" if found.get("is_paused") else "there")


def _catalogue(folder: Path) -> Catalogue:
    """The streams there are, switched on as in the stack of this folder, if there is one."""
    use_settings_of(folder)
    return catalogue(get_settings(StreamSettings))


def _rows(found: Catalogue) -> list[tuple[str, ...]]:
    on = {stream.name for stream in found.on}
    rows: list[tuple[str, ...]] = [
        (
            stream.name,
            "on" if stream.name in on else "off",
            stream.record.value,
            stream.topic,
            f"{stream.folder}{f' (like {stream.like})' if stream.like else ''}",
        )
        for stream in found.streams.values()
    ]
    faulty = dict.fromkeys((fault.stream, fault.file) for fault in found.faults if fault.stream not in found.streams)
    seen = {row[0] for row in rows}
    for name, file in faulty:
        if name and name not in seen:
            seen.add(name)
            rows.append((name, "faulty", "", "", str(file.parent)))
    return rows


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    header = ("stream", "is", "format", "topic", "folder")
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    for row in (header, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _as_json(found: Catalogue) -> list[dict[str, object]]:
    on = {stream.name for stream in found.on}
    return [_stream_as_json(stream, is_on=stream.name in on) for stream in found.streams.values()]


def _stream_as_json(stream: Stream, *, is_on: bool) -> dict[str, object]:
    return {
        "name": stream.name,
        "title": stream.title,
        "on": is_on,
        "format": stream.record.value,
        "topic": stream.topic,
        "folder": str(stream.folder),
        "like": stream.like,
    }


def _fault_as_json(fault: Fault) -> dict[str, object]:
    return {
        "stream": fault.stream,
        "file": str(fault.file),
        "place": fault.place,
        "rule": fault.rule.value,
        "what": fault.what,
        "mend": fault.mend,
        "warning": fault.is_warning,
    }


def _sample(like: Path | None, topic: str | None, folder: Path) -> Sample:
    if like is not None:
        from etar.stream_folder.sample import read_sample

        return read_sample(like)
    from etar.settings import KafkaSettings, RegistrySettings
    from etar.stream_folder.topic_sample import read_topic

    use_settings_of(folder, *_PLACES)
    return read_topic(topic or "", get_settings(KafkaSettings), get_settings(RegistrySettings))


def _tell_sample(sample: Sample) -> None:
    if sample.records:
        typer.echo(f"{len(sample.records):,} events read")
    for remark in sample.remarks:
        typer.secho(f"  {printable(remark)}", fg="yellow")


def _tell_proposal(proposal: Proposal) -> None:
    typer.echo(
        f"records are {proposal.format}, one event is known by {', '.join(proposal.identity) or 'nothing'}, ", nl=False
    )
    typer.echo(f"its time is {proposal.time} ({proposal.time_form}); columns:")
    width = max(len(column.name) for column in proposal.columns)
    types = max(len(column.declared) for column in proposal.columns)
    for column in proposal.columns:
        why = f"  {column.why} (--column {column.name}=…)" if column.why else ""
        typer.echo(f"  {column.name:<{width}}  {column.declared:<{types}}{why}".rstrip())
    for each in proposal.left_out:
        typer.secho(f"  {printable(each.name):<{width}}  no column: {printable(each.why)}", fg="yellow")


@app.command("forget-checkpoint")
def forget_checkpoint(
    name: StreamName,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job, as its stream's definition names it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Let a job of a stream begin with the oldest record that Kafka holds: delete its checkpoint.

    For a job that cannot go on, as Kafka has lost records that it had not read. What it has written stays.
    """
    from etar.clients import object_store_client
    from etar.settings import ObjectStoreSettings

    with errors_shown():
        use_settings_of(folder, "ETAR_S3_")
        stream = stream_named(name)
        found = next((each for each in stream.jobs if each.name == job), None)
        if found is None:
            fail(f"the stream {name} has no job {job!r}; it has {', '.join(j.name for j in stream.jobs) or 'none'}")
        settings = get_settings(ObjectStoreSettings)
        prefix = f"{stream.checkpoints_key(found)}/"
        if not yes:
            typer.confirm(
                f"Delete s3://{settings.bucket}/{prefix}, and let the job read all that Kafka holds?", abort=True
            )
        own = _own_part(folder, job)
        if own is not None:
            own.stop(job)
        store = object_store_client(settings)
        deleted = 0
        # Deeper ones first: a server that keeps objects as files deletes no folder that holds some.
        while names := _names_below(store, settings.bucket, prefix):
            for key in sorted(names, reverse=True):
                store.delete_object(Bucket=settings.bucket, Key=key)
            deleted += len(names)
        typer.echo(f"deleted {deleted} objects of {prefix}")
        if own is not None:
            own.start(job)
            typer.echo(f"started {job}")


def _own_part(folder: Path, part: str) -> Supervisor | None:
    """The supervisor of the stack in a folder, if it has the part."""
    try:
        supervisor = Supervisor(existing_stack(folder))
    except SettingsError:
        return None
    return supervisor if part in supervisor.states() else None


def _names_below(store: S3Client, bucket: str, prefix: str) -> list[str]:
    """At most a thousand."""
    found = store.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [each["Key"] for each in found]


def _column_wish(text: str) -> tuple[str, str]:
    name, found, declared = text.partition("=")
    if not found or not name or not declared:
        fail(f"--column {text}: write FIELD=TYPE, like amount=Float64")
    return name, declared


class _AskPerson:
    """Asks on the terminal; where nobody is asked, or sits there, the answer is what is offered."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent

    def __call__(self, question: str, *, offered: str, others: Sequence[str]) -> str:
        if self._silent:
            return offered
        if not _somebody_is_there():
            fail(
                f"{question} Nobody can answer here: give --id and --time, or --yes to take what is offered ({offered})"
            )
        also = f"\n  it may also be {', '.join(others)}" if others else ""
        answer: str = typer.prompt(f"{question}{also}\n ", default=offered)
        return answer


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _run_contract(name: str | None) -> int:
    """Exit code of the contract suite for one stream, or all."""
    if not _CONTRACT.is_dir():
        typer.echo(f"--full: the contract suite is not here ({_CONTRACT}); it is in etar's repository")
        return 1
    command = [sys.executable, "-m", "pytest", str(_CONTRACT), "-q", "-p", "no:cacheprovider"]
    if name:
        command += ["--stream", name]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode
