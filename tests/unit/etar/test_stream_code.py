"""Code of a stream's folder, loaded by its path: found, told apart, read again when it changes, and faults by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etar.minute import MinuteWindow
from etar.report import PublishedReport
from etar.settings import StreamSettings, get_settings
from etar.stream_code import StreamCodeError, headline, load, report_model, report_transform
from etar.streams import Stream, UnknownStreamError, catalogue, default_stream, stream_named
from tests.stream_folders import define

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
MODEL = """
from etar.report import MinuteReport

class Report(MinuteReport):
    sold: int = 0

    def headline(self) -> str:
        return f"{self.sold} sold"

def transform(events):
    return events
"""

Write = Callable[..., Stream]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """``write("sales", report=MODEL)`` makes a stream of these files, in a folder outside this repository."""
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", f"streams:{tmp_path}")
    get_settings.cache_clear()

    def write(name: str = "sales", **files: str) -> Stream:
        define(tmp_path, name, **{f"{stem}.py": text for stem, text in files.items()})
        return stream_named(name)

    yield write
    get_settings.cache_clear()


def test_a_folder_outside_this_repository_has_a_model_and_a_transform(write: Write) -> None:
    stream = write(report=MODEL)
    assert report_model(stream).empty(WINDOW, stream="sales").model_dump()["sold"] == 0
    assert report_transform(stream) is load(stream, "report:transform")
    assert set(catalogue().streams) == {"sales", *catalogue(StreamSettings(streams_folders="streams")).streams}


def test_two_folders_with_files_of_the_same_name_are_told_apart(write: Write) -> None:
    sales, clicks = write("sales", report=MODEL), write("clicks", report=MODEL.replace("sold", "clicked"))
    assert "sold" in report_model(sales).model_fields
    assert "clicked" in report_model(clicks).model_fields
    assert report_model(default_stream()).__module__ != report_model(sales).__module__


def test_it_is_loaded_once(write: Write) -> None:
    stream = write(report=MODEL)
    assert report_model(stream) is report_model(stream)


def test_a_file_may_import_the_one_beside_it(write: Write) -> None:
    stream = write(names="KNOWN = 3", report=f"from .names import KNOWN\n{MODEL}")
    assert load(stream, "report:KNOWN") == 3


def test_what_changed_is_read_again(write: Write) -> None:
    stream = write(names="KNOWN = 3", report=f"from .names import KNOWN\n{MODEL}")
    before = report_model(stream)
    write(names="KNOWN = 1000")
    assert load(stream, "report:KNOWN") == 1000
    assert report_model(stream) is not before


def test_a_stream_like_another_has_its_code(write: Write, tmp_path: Path) -> None:
    define(tmp_path, "second_shop", **{"stream.toml": '[stream]\nname = "second_shop"\nlike = "user_interactions"\n'})
    assert report_model(stream_named("second_shop")) is report_model(default_stream())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({}, "has no .*/sales/report.py", id="no file"),
        pytest.param({"report": "def f(:\n"}, r"cannot be imported: SyntaxError.*report.py, line 1", id="syntax"),
        pytest.param(
            {"report": "import os\nimport nowhere_to_be_found"},
            r"ModuleNotFoundError: .*nowhere_to_be_found.*\(report.py, line 2\)",
            id="import",
        ),
        pytest.param({"report": "\n\nraise SystemExit(3)"}, r"SystemExit: 3 \(report.py, line 3\)", id="exit"),
        pytest.param({"report": "x = 1"}, "Report of .*report.py is missing", id="no model"),
        pytest.param({"report": "Report = dict"}, "is no subclass of etar.report.MinuteReport", id="another class"),
        pytest.param(
            {"report": MODEL.replace("sold: int = 0", "sold: int")},
            "cannot say that a minute has no events: sold Field required; give each",
            id="a field without a default",
        ),
        pytest.param(
            {"report": MODEL.replace("sold: int = 0", "revision: int = 0")},
            "has revision, which is the API's own",
            id="a name of the API's",
        ),
        pytest.param(
            {"report": MODEL.replace("    sold:", "    schema_version: int = 2\n    sold:")},
            "has schema_version 2, but the stream's definition says version 1",
            id="another version",
        ),
    ],
)
def test_a_fault_is_named_with_folder_and_file(write: Write, files: dict[str, str], said: str) -> None:
    with pytest.raises(StreamCodeError, match=f"(?s)stream sales.*{said}"):
        report_model(write(**files))


def test_a_fault_is_its_streams_alone_and_gone_when_it_is_mended(write: Write) -> None:
    sales, clicks = write(report="def f(:"), write("clicks", report=MODEL)
    with pytest.raises(StreamCodeError, match="sales"):
        report_model(sales)
    assert report_model(clicks)
    write(report=MODEL)
    assert report_model(sales)


def test_what_is_no_function_transforms_nothing(write: Write) -> None:
    with pytest.raises(StreamCodeError, match=r"transform of .*report.py is no function"):
        report_transform(write(report="transform = 3"))


@pytest.mark.parametrize("name", ["", ".", "..", "../sales", "sales/..", "a\0b", "absent"])
def test_a_name_leads_out_of_no_folder(write: Write, name: str) -> None:
    write(report=MODEL)
    with pytest.raises(UnknownStreamError):
        stream_named(name)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        pytest.param(MODEL, "3 sold", id="in the stream's words"),
        pytest.param(MODEL.replace("sold: int = 0", "sold: str = ''"), "1,234 events", id="the model has changed"),
        pytest.param("def f(:", "1,234 events", id="the folder is at fault"),
    ],
)
def test_a_published_reports_headline(write: Write, report: str, said: str) -> None:
    write(report=report)
    published = PublishedReport.model_validate(
        {"stream": "sales", "minute": WINDOW.start, "total_events": 1234, "rows_read": 1234, "source_object": "s3a://x"}
        | {"sold": 3, "revision": 1, "published_at": WINDOW.end}
    )
    assert headline(published) == said
