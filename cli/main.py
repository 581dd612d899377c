"""The ``etar`` command."""

from __future__ import annotations

import typer

from cli import bootstrap, connect, dead_letters, reports, stack, topic
from cli.context import in_stack
from cli.demo import demo
from cli.minutes import minutes
from cli.verify import verify
from producer.command import produce

app = typer.Typer(
    name="etar",
    help="One report a minute from an event stream, and every event accounted for.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold settings, and settings hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(stack.logs)
app.command(
    "exec",
    # The command's own options are its own: `etar exec airflow dags list --output json`.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)(stack.exec_)
app.command()(stack.clean)
app.command()(demo)
app.command()(in_stack(produce, "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_PIPELINE_"))
app.command()(reports.report)
app.command()(minutes)
app.command()(verify)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(connect.app, name="connect")
app.add_typer(topic.app, name="topic")
app.add_typer(bootstrap.app)
