"""``etar stream``: what a person types and sees, and what the exit code says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema_rs import validator_for
from typer.testing import CliRunner

from cli import stream as command
from cli.main import app
from etar.settings import StreamSettings, get_settings
from etar.streams import catalogue

EVENTS = "\n".join(
    json.dumps(
        {"ride": f"r{n}", "picked_up_at": f"2026-11-21T10:31:0{n}Z", "left_at": "2026-11-21T10:31:00Z", "fare": 9.5}
    )
    for n in range(4)
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for streams, that is the only one."""
    (tmp_path / "streams").mkdir()
    (tmp_path / "rides.jsonl").write_text(EVENTS)
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", str(tmp_path / "streams"))
    monkeypatch.setenv("ETAR_DIR", str(tmp_path / "no stack"))
    monkeypatch.setenv("COLUMNS", "200")
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def etar(*words: str, exit_code: int = 0, typed: str | None = None) -> str:
    result = CliRunner().invoke(app, ["stream", *words], input=typed)
    assert result.exit_code == exit_code, result.output
    return result.output


def new(home: Path, name: str = "rides", *words: str, exit_code: int = 0) -> str:
    return etar("new", name, "--like", str(home / "rides.jsonl"), *words, exit_code=exit_code)


def test_from_a_file_to_a_checked_folder_in_one_command(home: Path) -> None:
    said = new(home, "rides", "--yes")

    assert "4 events read" in said
    assert "fare          Decimal(18, 2)        at most 1 digits after the point: taken for an exact amount" in said
    assert f"written: {home}/streams/rides" in said
    assert etar("check", "rides") == "all is well\n"
    assert etar("list").splitlines() == [
        "stream  is   format  topic  folder",
        f"rides   off  json    rides  {home}/streams/rides",
    ]


def test_each_question_is_an_option(home: Path) -> None:
    new(
        home, "rides", "--id", "ride", "--id", "left_at", "--time", "picked_up_at", "--title", "Taxi rides",
        "--format", "json-registered", "--column", "fare=Float64",
    )  # fmt: skip

    stream = catalogue(StreamSettings(streams_folders=str(home / "streams"))).named("rides")
    assert (stream.identity, stream.time, stream.title, stream.record.value) == (
        ("ride", "left_at"),
        "picked_up_at",
        "Taxi rides",
        "json-registered",
    )
    assert "fare Float64" in (home / "streams" / "rides" / "sql" / "0001_table.sql").read_text()


def test_a_person_is_asked_with_what_is_likely(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_somebody_is_there", lambda: True)

    said = etar("new", "rides", "--like", str(home / "rides.jsonl"), typed="left_at\n\n")

    assert "Which field says when an event happened?" in said
    assert "it may also be left_at" in said
    assert "[ride]" in said
    assert 'time = "left_at"' in (home / "streams" / "rides" / "stream.toml").read_text()


def test_where_nobody_can_answer_the_options_are_named(home: Path) -> None:
    assert "give --id and --time, or --yes to take what is offered (picked_up_at)" in new(home, exit_code=1)
    assert list((home / "streams").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rides"], "say of what events: --like FILE or --from-topic TOPIC"),
        (["rides", "--like", "x", "--from-topic", "y"], "say of what events"),
        (["rides", "--like", "none.jsonl", "--yes"], "none.jsonl cannot be read: No such file"),
        (["Rides", "--like", "{rides}", "--yes"], "can be no stream's name"),
        (["rides", "--like", "{rides}", "--time", "fare"], "--time fare: its values are no instants, 9.5"),
        (["rides", "--like", "{rides}", "--yes", "--column", "fare"], "--column fare: write FIELD=TYPE"),
        (["rides", "--like", "{rides}", "--yes", "--column", "fare=Money"], "Money is no type that can be filled"),
        (
            ["rides", "--like", "{rides}", "--yes", "--format", "avro", "--column", "fare=UUID"],
            "no record of the sample",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(home: Path, words: list[str], said: str) -> None:
    rides = str(home / "rides.jsonl")
    assert said in etar("new", *(word.replace("{rides}", rides) for word in words), exit_code=1)
    assert list((home / "streams").iterdir()) == []


def test_a_folder_that_is_there_stays(home: Path) -> None:
    new(home, "rides", "--yes")
    (home / "streams" / "rides" / "stream.toml").write_text("mine")

    assert "is there already, and is not overwritten" in new(home, "rides", "--yes", exit_code=1)
    assert (home / "streams" / "rides" / "stream.toml").read_text() == "mine"


def test_a_fault_is_shown_by_list_and_by_check_and_both_fail(home: Path) -> None:
    new(home, "rides", "--yes")
    new(home, "good", "--yes")
    definition = home / "streams" / "rides" / "stream.toml"
    definition.write_text(definition.read_text() + "\n[topics]\n")

    listed = etar("list", exit_code=1)
    assert "rides   faulty" in listed
    assert f"{definition}, topics: is not a key; there are" in listed
    assert "good    off" in listed

    checked = etar("check", exit_code=1)
    assert checked.startswith(f"error  definition  {definition}, topics: is not a key")
    assert checked.endswith("1 error, 0 warnings\n")
    assert etar("check", "good") == "all is well\n"
    assert "there is no stream 'none'" in etar("check", "none", exit_code=1)


def test_a_name_that_is_switched_on_and_has_no_folder_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new(home, "rides", "--yes")
    monkeypatch.setenv("ETAR_STREAMS", "rides trips")
    get_settings.cache_clear()

    listed = etar("list", exit_code=1)

    assert "rides   on" in listed
    assert "ETAR_STREAMS names 'trips', and no folder defines it" in listed


def test_the_same_as_json(home: Path) -> None:
    new(home, "rides", "--yes")
    assert json.loads(etar("list", "--json")) == {
        "streams": [
            {
                "name": "rides", "title": "Rides", "on": False, "format": "json", "topic": "rides",
                "folder": f"{home}/streams/rides", "like": None,
            }
        ],
        "faults": [],
    }  # fmt: skip
    (home / "streams" / "rides" / "report.sql").unlink()
    [fault] = json.loads(etar("check", "--json", exit_code=1))
    assert (fault["rule"], fault["warning"], fault["stream"]) == ("report", False, "rides")


def test_warnings_are_told_and_are_no_failure(home: Path) -> None:
    (home / "rides.jsonl").write_text('{"at": "2026-11-21T10:31:00Z", "trip distance": 1}')

    said = new(home, "rides", "--yes")

    assert "trip distance  no column: its name is not made of letters" in said
    assert etar("check").endswith("0 errors, 1 warning\n")


def test_the_schema_of_definitions_takes_what_is_written_and_refuses_what_is_none(home: Path) -> None:
    import tomllib

    schema = validator_for(json.loads(etar("schema")))
    new(home, "rides", "--yes", "--title", "Rides")
    definition = tomllib.loads((home / "streams" / "rides" / "stream.toml").read_text())

    assert schema.is_valid(definition)
    assert schema.is_valid(tomllib.loads((Path("streams") / "user_interactions" / "stream.toml").read_text()))
    assert schema.is_valid({"stream": {"name": "other", "like": "rides"}})
    assert not schema.is_valid({"stream": {"name": "other", "like": "rides"}, "event": {"id": [], "time": "x"}})
    assert not schema.is_valid(definition | {"topics": {}})
    assert not schema.is_valid({**definition, "event": {"id": "ride"}})
    assert not schema.is_valid({**definition, "record": {"format": "xml"}})


def test_the_whole_check_runs_the_contract_suite_of_that_stream(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new(home, "rides", "--yes")
    ran: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, 1)

    monkeypatch.setattr(subprocess, "run", run)
    etar("check", "rides", "--full", exit_code=1)
    assert ran[0][-2:] == ["--stream", "rides"]
    assert ran[0][3].endswith("tests/streams")

    monkeypatch.setattr(command, "_CONTRACT", home / "nowhere")
    assert "the contract suite is not here" in etar("check", "rides", "--full", exit_code=1)
    assert len(ran) == 1


def test_a_place_that_is_away_is_named_by_the_plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from etar.stream_folder import plan

    new(home, "rides", "--yes")
    monkeypatch.setattr(plan, "_SECONDS", 0.1)
    monkeypatch.setenv("ETAR_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    said = etar("plan", "rides", "--dir", str(home / "none"), exit_code=1)

    assert [line.split()[0] for line in said.splitlines()] == ["rides:", "topic", "schema", "table", "DAG"]
    assert "table rides              not asked  it could not be asked: WarehouseSettings has no password" in said
    assert "DAG etar_pipeline_rides  not asked  it could not be asked: there is no stack in" in said
