"""``etar topic``: what a person does about a stream's topic."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.context import DEFAULT_FOLDER, Folder, StreamName, errors_shown, existing_stack, fail, use_settings_of
from cli.lazy import Group
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.streams import DEFAULT_STREAM, Stream, stream_named
from stack.configuration import SettingsError
from stack.parts import connect, sink
from stack.supervision import Supervisor

app = typer.Typer(help="The topic of a stream: go on with one that was made anew.", no_args_is_help=True, cls=Group)

_SETTINGS = ("ETAR_KAFKA_", "ETAR_WAREHOUSE_", "ETAR_REPORT_STORE_")


@app.command("begin-anew")
def begin_anew(
    *,
    stream: StreamName = DEFAULT_STREAM,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Go on with a topic that was made anew, or a Kafka that was restored. Nothing of the old log is deleted: what is
    stored of it gets a name of its own, and sink and audit begin with what Kafka holds now."""
    import psycopg

    from etar.audit.marks import AuditBusyError
    from etar.begin_anew import SinkAtWorkError, open_new_log
    from etar.clients import WarehouseUnavailableError

    with errors_shown():
        use_settings_of(folder, *_SETTINGS)
        chosen = stream_named(stream)
        own_sink = _OwnSink(folder, chosen)
        try:
            with open_new_log(chosen, command=shlex.join(["etar", *sys.argv[1:]])) as new_log:
                ended = new_log.ended()
                if ended is None:
                    typer.echo(f"nothing to do: what is stored is of the topic {chosen.topic} that there is")
                    own_sink.start()  # stopped still, where this was killed between its last step and that one
                    return
                typer.echo(ended.told())
                if not yes:
                    typer.confirm("Begin anew?", abort=True)
                own_sink.stop()
                new_log.begin(ended, typer.echo)
                own_sink.start()
        except psycopg.Error as error:
            fail(f"PostgreSQL does not answer: {error}")
        except (
            AuditBusyError,
            KafkaUnavailableError,
            SinkAtWorkError,
            UnknownTopicError,
            WarehouseUnavailableError,
        ) as error:
            fail(str(error))


class _OwnSink:
    """The sink that `etar up` runs in a folder, if it runs one; any other is for a person to stop."""

    def __init__(self, folder: Path, stream: Stream) -> None:
        self._parts: list[str] = []
        try:
            self._supervisor = Supervisor(existing_stack(folder))
        except SettingsError:
            return
        known = self._supervisor.states()
        sinks = (sink.part(stream), *connect.workers((stream,)))
        self._parts = [part.name for part in sinks if part.name in known]

    def stop(self) -> None:
        for part in self._parts:
            self._supervisor.stop(part)
            typer.echo(f"stopped {part}")

    def start(self) -> None:
        for part in self._parts:
            if self._supervisor.states()[part].pid:
                continue
            self._supervisor.start(part)
            typer.echo(f"started {part}")
