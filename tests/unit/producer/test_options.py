"""What a run can be asked to do, and how the command asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from etar.settings import get_settings
from etar.streams import UnknownStreamError
from producer import command
from producer.command import parse_duration, parse_start
from producer.input_file import STDIN
from producer.options import Mix, ProduceOptions
from producer.task import WorkerTask
from tests.unit.producer.folders import AVRO_TOML, avro_schema, write_stream

NOW = datetime(2026, 11, 21, 10, 31, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("0.5s", 0.5), ("1d", 86_400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5min", "-5m", "1.2.3s", "5m!"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "now", "start"),
    [
        ("now", NOW, None),
        ("next-minute", NOW, NOW.replace(minute=32, second=0)),
        ("next-minute", NOW.replace(second=0), NOW.replace(minute=32, second=0)),
        ("next-minute", NOW.replace(minute=59, second=59), NOW.replace(hour=11, minute=0, second=0)),
        ("2026-11-21T10:31Z", NOW, NOW.replace(second=0)),
        ("2026-11-21T10:31", NOW, NOW.replace(second=0)),
    ],
)
def test_starts(text: str, now: datetime, start: datetime | None) -> None:
    assert parse_start(text, now) == start


def test_what_is_no_start() -> None:
    with pytest.raises(typer.BadParameter, match="not a start"):
        parse_start("tomorrow")


@pytest.mark.parametrize(
    ("rate", "seconds", "total"), [(None, 60, 6000), (30, 180, 5400), (0.5, 60, 30), (3, 0.1, 0), (1, None, None)]
)
def test_a_run_has_rate_times_duration_records(rate: float | None, seconds: float | None, total: int | None) -> None:
    duration = None if seconds is None else timedelta(seconds=seconds)
    assert ProduceOptions(rate=rate, duration=duration).total == total


@pytest.mark.parametrize(("rate", "processes"), [(0.5, 1), (1, 1), (1.9, 1), (2, 2), (3, 3), (4, 4), (100, 4)])
def test_there_are_never_more_workers_than_records_a_second(rate: float, processes: int) -> None:
    assert ProduceOptions(rate=rate, workers=4).processes == processes


def test_a_file_is_read_by_one() -> None:
    assert ProduceOptions(input=(Path("x.csv"),), workers=4).processes == 1


def test_rejects_go_beside_the_file_unless_told_otherwise() -> None:
    several = ProduceOptions(input=(Path("a/x.csv"), Path("y.csv")))
    assert [several.reject_path, ProduceOptions(input=(STDIN,)).reject_path] == [Path("input.rejects.jsonl")] * 2
    assert ProduceOptions(input=(Path("a/x*.csv"),)).reject_path == Path("input.rejects.jsonl")
    assert ProduceOptions(input=(Path("a/x.csv"),)).reject_path == Path("a/x.csv.rejects.jsonl")
    assert ProduceOptions(input=(Path("a/x.csv"),), rejects=Path("r")).reject_path == Path("r")
    assert ProduceOptions().reject_path is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"input": (Path("x.csv"),), "seed": 1}, "seed: only for made-up traffic"),
        ({"input": (Path("x.csv"),), "mix": Mix(late=0.1)}, "mix: only for made-up traffic"),
        ({"input": (Path("x.csv"),), "respawn": True}, "respawn: only for made-up traffic"),
        ({"rejects": Path("r")}, "rejects: only with an input file"),
        ({"nulls": ("NULL",)}, "nulls: only with an input file"),
        ({"input": (Path("x.csv"),), "nulls": ("NA",), "texts": ("na",)}, "na: cannot both be a value and mean"),
        ({"input": (Path("x.csv"),), "rejects": Path("x.csv")}, "cannot be both input and rejects"),
        ({"input": (Path("x.csv"),), "event_log": Path("x.csv").absolute()}, "cannot be both input and event_log"),
        ({"input": (Path("x.csv"),), "account": Path("y/../x.csv")}, "cannot be both input and account"),
        ({"account": Path("x.json"), "event_log": Path("x.json")}, "cannot be both account and event_log"),
        ({"rate": 0}, "greater than 0"),
        ({"duration": timedelta(0)}, "greater than 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ProduceOptions(**options)


@pytest.mark.parametrize("share", [-0.01, 1.01])
@pytest.mark.parametrize("name", ["errors", "late", "duplicates", "malformed"])
def test_a_share_is_between_nothing_and_everything(name: str, share: float) -> None:
    with pytest.raises(ValidationError):
        Mix.model_validate({name: share})


def test_duplicates_and_malformed_cannot_be_more_than_everything() -> None:
    assert Mix(duplicates=0.5, malformed=0.5).malformed == 0.5
    with pytest.raises(ValidationError, match="cannot be more than 1 together"):
        Mix(duplicates=0.6, malformed=0.5)


@pytest.mark.parametrize(
    "options",
    [
        ProduceOptions(rate=5, duration=timedelta(minutes=1), seed=3, start=NOW, mix=Mix(late=0.2)),
        ProduceOptions(input=(Path("x.csv"),), event_log=Path("log")),
    ],
)
def test_a_worker_gets_exactly_what_its_parent_was_asked(options: ProduceOptions) -> None:
    task = WorkerTask(options=options, worker=1, workers=2, tally=3, incarnation=4, made=5)
    assert WorkerTask.model_validate_json(task.model_dump_json(exclude_unset=True)) == task


def test_no_two_workers_of_a_run_have_the_same_chance_and_so_the_same_event_ids() -> None:
    tasks = [
        WorkerTask(options=ProduceOptions(), worker=worker, workers=3, tally=0, incarnation=incarnation)
        for worker in range(3)
        for incarnation in range(4)
    ]
    assert len({task.chance for task in tasks}) == len(tasks)
    assert [task.chance for task in tasks if not task.incarnation] == [0, 1, 2]


class TestCommand:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[ProduceOptions]:
        """Options the command arrives at. Runs themselves are tested against a real Kafka."""
        asked: list[ProduceOptions] = []

        def run(options: ProduceOptions, _told: object) -> None:
            asked.append(options)
            raise OSError("far enough")

        monkeypatch.setattr("producer.run.produce", run)
        return asked

    def invoke(self, *arguments: str) -> str:
        app = typer.Typer()
        app.command()(command.produce)
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 2
        return result.output

    def test_without_options_it_is_a_plain_endless_run(self, asked: list[ProduceOptions]) -> None:
        self.invoke()
        assert asked == [ProduceOptions(mix=Mix(), workers=2, topic="user_interactions")]
        assert (asked[0].events_per_second, asked[0].total) == (100, None)
        assert asked[0].mix == Mix(errors=0.05, late=0, late_by=timedelta(seconds=90), duplicates=0, malformed=0)

    def test_every_option_arrives(self, asked: list[ProduceOptions]) -> None:
        text = (
            "--rate 50 --for 5m --start 2026-11-21T10:31Z --seed 7 --workers 3 --errors 0.1 --late 0.2 --late-by 2m "
            "--duplicates 0.3 --malformed 0.4 --respawn --account a --event-log e --topic t --stream user_interactions"
        )
        self.invoke(*text.split())
        assert asked == [
            ProduceOptions(
                rate=50,
                duration=timedelta(minutes=5),
                start=NOW.replace(second=0),
                seed=7,
                workers=3,
                mix=Mix(errors=0.1, late=0.2, late_by=timedelta(minutes=2), duplicates=0.3, malformed=0.4),
                respawn=True,
                account=Path("a"),
                event_log=Path("e"),
                topic="t",
            )
        ]

    def test_a_start_now_is_the_default(self, asked: list[ProduceOptions]) -> None:
        self.invoke("--start", "now")
        assert asked[0].start is None

    def test_a_file_and_where_its_rejects_go(self, asked: list[ProduceOptions]) -> None:
        self.invoke("--input", "x.csv", "--rejects", "r")
        assert (asked[0].input, asked[0].reject_path, asked[0].rate) == ((Path("x.csv"),), Path("r"), None)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--input", "x.csv", "--seed", "1"), "etar produce: seed: only for made-up traffic"),
            (("--duplicates", "0.6", "--malformed", "0.6"), "cannot be more than 1 together"),
            (("--for", "5"), "is not a duration"),
            (("--start", "soon"), "is not a start"),
            (("--stream", "nobody"), "etar produce: there is no stream 'nobody' in"),
            ((), "etar produce: far enough"),
        ],
    )
    @pytest.mark.usefixtures("asked")
    def test_what_is_wrong_is_said_in_a_line(self, arguments: tuple[str, ...], problem: str) -> None:
        output = self.invoke(*arguments)
        assert problem in " ".join(output.replace("│", " ").split())
        assert "Traceback" not in output


def test_the_topic_is_the_streams_own_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProduceOptions().topic == "user_interactions"
    assert ProduceOptions(topic="other").topic == "other"
    toml = '[topic]\nname = "shop.payments"\n' + AVRO_TOML.replace("[topic]\n", "")
    write_stream(tmp_path, "payments", toml, avro_schema())
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", str(tmp_path))
    get_settings.cache_clear()
    try:
        assert ProduceOptions(stream="payments").topic == "shop.payments"
        assert ProduceOptions(stream="payments", topic="other").topic == "other"
        with pytest.raises(UnknownStreamError, match="there is no stream 'user_interactions'"):
            ProduceOptions()
    finally:
        get_settings.cache_clear()


def test_a_worker_is_told_what_its_parent_was() -> None:
    options = ProduceOptions(topic="other", rate=5)
    assert ProduceOptions.model_validate_json(options.model_dump_json(exclude_unset=True)) == options
