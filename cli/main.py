"""The ``etar`` command."""

from __future__ import annotations

import typer

from cli.lazy import Command, group_of

COMMANDS = {
    "up": Command("cli.stack:up", "Start the stack and print each minute's report; Ctrl-C stops everything."),
    "down": Command("cli.stack:down", "Stop the stack; its data stays."),
    "status": Command(
        "cli.status:status", "Show every part, and how far each stream is; exits with 1 unless all are healthy."
    ),
    "alerts": Command(
        "cli.alerts:app",
        "What fires, since when and what to press; silence it, send a test. Exits with 1 if something fires.",
    ),
    "logs": Command("cli.stack:logs", "Show the log of one part."),
    "exec": Command(
        "cli.stack:exec_",
        "Run a command with the stack's environment: `etar exec airflow dags list`.",
        # The command's own options are its own: `etar exec airflow dags list --output json`.
        {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
    ),
    "clean": Command("cli.stack:clean", "Stop the stack and delete its folder: data, logs and generated secrets."),
    "demo": Command(
        "cli.demo:demo",
        "Start the stack, send three whole minutes of events, print their reports and the account, stop.",
    ),
    "produce": Command(
        "cli.produce:produce", "Send events to Kafka: made-up traffic of a stream, or your own from a file."
    ),
    "report": Command(
        "cli.reports:report",
        "Print one minute's report; with --range, have a range of minutes reported again, and print their reports.",
    ),
    "backfill": Command(
        "cli.backfill:backfill",
        "Say which minutes of a range need what and why, and have those reported again.",
    ),
    "minutes": Command(
        "cli.minutes:minutes",
        "Print what became of each minute: how far it is, what it had, who worked on it and for how long.",
    ),
    "cost": Command(
        "cli.cost:cost",
        "Print what a stream costs: rows, bytes and CPU seconds of each stage, a minute and a million events.",
    ),
    "verify": Command(
        "cli.verify:verify",
        "Compare Kafka, the table, dead letters, Parquet and reports, record by record; exit with 1 on a difference.",
    ),
    "trace": Command(
        "cli.trace:trace",
        "Say where one event is: Kafka, table or dead letter, minute, audit, extract, report, and what is waited for.",
    ),
    "dead-letters": Command(
        "cli.dead_letters:app",
        "Bad records: see them, repair them, send them again, give them up. Nothing changes without --apply.",
    ),
    "connect": Command(
        "cli.connect:app",
        "Kafka Connect's connectors: compare them with their files, create and update them, see how they are.",
    ),
    "stream": Command(
        "cli.stream:app",
        "The streams: list them, write the folder of a new one from a sample, check folders, see what would change.",
    ),
    "topic": Command("cli.topic:app", "The topic of a stream: go on with one that was made anew."),
    "token": Command("cli.tokens:app", "Tokens of the report API: give one out, see them, replace one, end one."),
    "bootstrap": Command(
        "cli.bootstrap:app",
        "Make what each place must have before the first event: topics, tables, a bucket. Repeatable.",
    ),
}

app = typer.Typer(
    name="etar",
    help="One report a minute from an event stream, and every event accounted for.",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold settings, and settings hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands_only() -> None:
    """Does nothing: without it, Typer refuses an app that has no functions registered."""
