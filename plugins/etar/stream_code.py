"""The code of a stream's folder, loaded by path when somebody needs it: its report's model and transform, its traffic.

A folder may lie anywhere. Each is a package of its own, under a name that no other code has, so that two streams may
both have a ``report.py``, and a ``report.py`` may import what stands beside it (``from .figures import …``). What is
wrong in a folder is wrong for its stream only, and said when that is asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from etar.errors import PermanentError
from etar.minute import MinuteWindow
from etar.page import Bars, Lines, Metric, Page, Table
from etar.report import MinuteReport, PublishedReport, faults
from etar.report_sql import FILE, sql_model, sql_transform
from etar.streams import Stream, catalogue, stream_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Transform = Callable[["DataFrame"], "DataFrame"]

_METRICS, _CHARTS = "page:METRICS", "page:CHARTS"
_OF_THE_API = {"revision", "published_at"}
_SOME_MINUTE = datetime(2026, 1, 1, tzinfo=UTC)

_LOCK = RLock()
_LOADED: dict[Path, tuple[tuple[tuple[str, int, int], ...], str]] = {}
"""By folder: what its files were when they were loaded, and the name that they were loaded under."""


class StreamCodeError(PermanentError):
    """A stream's folder lacks code, or its code cannot be used: which folder, which file, why, what to do."""


def report_model(stream: Stream) -> type[MinuteReport]:
    """The model of the stream's reports; that of any SELECT where the folder has a ``report.sql`` and no model.

    Raises:
        StreamCodeError: the folder has none that can be used.
    """
    if _has_sql(stream) and not _file(stream, stream.report_model).is_file():
        return sql_model(stream.report_version)
    model = load(stream, stream.report_model)
    where = _where(stream, stream.report_model)
    if not (isinstance(model, type) and issubclass(model, MinuteReport)):
        raise StreamCodeError(f"{where} is no subclass of etar.report.MinuteReport; make it one")
    if fault := _fault(model, stream.report_version):
        raise StreamCodeError(f"{where} {fault}")
    return model


@lru_cache
def _fault(model: type[MinuteReport], version: int) -> str | None:
    """What keeps a model from being that of a stream's reports, and what to do."""
    if taken := _OF_THE_API & {*model.model_fields, *model.model_computed_fields}:
        return f"has {', '.join(sorted(taken))}, which is the API's own; give it another name"
    try:
        empty = model.empty(MinuteWindow(_SOME_MINUTE), stream="of_a_check")
        empty.model_dump_json()
    except Exception as error:
        return (
            f"cannot say that a minute has no events: {_told(error)}; give each of its fields a default that is "
            "so, all of which add up"
        )
    if empty.schema_version != version:
        return (
            f"has schema_version {empty.schema_version}, but the stream's definition says version {version}; make both "
            "the same"
        )
    return None


def report_transform(stream: Stream) -> Transform:
    """What makes one row of a minute's rows: a function of the folder, or its ``report.sql``.

    Raises:
        StreamCodeError: the folder has none that can be used, or both.
    """
    if _has_sql(stream):
        if _file(stream, stream.report_transform).is_file() and _defines(stream, stream.report_transform):
            raise StreamCodeError(
                f"{_where(stream, stream.report_transform)} and {FILE} beside it both say how a report is made; "
                "delete one of them"
            )
        return sql_transform(_folder(stream) / FILE, stream.identity)
    transform = load(stream, stream.report_transform)
    if not callable(transform):
        raise StreamCodeError(
            f"{_where(stream, stream.report_transform)} is no function; it takes a DataFrame of the minute's rows and "
            "returns one of one row"
        )
    return transform  # type: ignore[no-any-return]


def traffic_class(stream: Stream) -> Callable[..., Any]:
    """What makes the stream's made-up events, as ``producer/traffic.py`` says.

    Raises:
        StreamCodeError: the folder has none that can be used.
    """
    what = stream.traffic or ""
    made = load(stream, what)
    if not callable(made):
        raise StreamCodeError(f"{_where(stream, what)} is no class; make it one, with a method block or next")
    if isinstance(made, type) and not (hasattr(made, "block") or hasattr(made, "next")):
        raise StreamCodeError(f"{_where(stream, what)} makes no events; give it a method block or next")
    return made  # type: ignore[no-any-return]


def headline(published: PublishedReport) -> str:
    """A published report's figures in a few words: in its stream's own, where that has a model which still fits."""
    stream = catalogue().streams.get(published.stream)
    if stream is None:
        return published.headline()
    try:
        return report_model(stream).model_validate(published.content).headline()
    except Exception:  # code of anybody's, for a line that somebody reads
        return published.headline()


def stream_page(stream: Stream) -> Page | None:
    """What the stream's page shows, by its folder's ``page.py``; None: it has none, and shows what its reports say.

    Raises:
        StreamCodeError: there is one that cannot be used.
    """
    if not _file(stream, _METRICS).is_file():
        return None
    metrics, charts = load(stream, _METRICS), load(stream, _CHARTS)
    for what, given, kinds in ((_METRICS, metrics, (Metric,)), (_CHARTS, charts, (Bars, Lines, Table))):
        if not (isinstance(given, tuple) and all(isinstance(each, kinds) for each in given)):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise StreamCodeError(f"{_where(stream, what)} is no tuple of etar.page's {names}; make it one")
    return Page(metrics, charts)


def load(stream: Stream, what: str) -> Any:
    """What a stream's folder has under ``module:name``, e.g. ``report:Report``; loaded once, until a file changes.

    Raises:
        StreamCodeError: there is no such file, it cannot be imported, or it has no such name.
    """
    if not _defines(stream, what):
        raise StreamCodeError(f"{_where(stream, what)} is missing: the file does not define it")
    module_name, _, name = what.partition(":")
    return getattr(_module(stream, module_name), name)


def loaded_packages() -> list[ModuleType]:
    """The folders that have been loaded, each as the package that its modules are in."""
    with _LOCK:
        return [sys.modules[package] for _, package in _LOADED.values()]


def _defines(stream: Stream, what: str) -> bool:
    module_name, _, name = what.partition(":")
    return hasattr(_module(stream, module_name), name)


def _has_sql(stream: Stream) -> bool:
    return (_folder(stream) / FILE).is_file()


def _file(stream: Stream, what: str) -> Path:
    return _folder(stream) / f"{what.partition(':')[0]}.py"


def _folder(stream: Stream) -> Path:
    """The folder of a stream, also of one that is known by its name alone.

    Raises:
        UnknownStreamError, StreamFaultError: it has none that can be used.
    """
    folder = stream.folder or stream_named(stream.name).folder
    if folder is None:
        raise StreamCodeError(f"stream {stream.name} has no folder")
    return folder


def _module(stream: Stream, name: str) -> ModuleType:
    folder = _folder(stream)
    file = folder / f"{name}.py"
    if not file.is_file():
        of_report = name in (each.partition(":")[0] for each in (stream.report_model, stream.report_transform))
        raise StreamCodeError(f"stream {stream.name} has no {file}; write it{f', or a {FILE}' if of_report else ''}")
    with _LOCK:
        package = _package(folder)
        try:
            return importlib.import_module(f"{package}.{name}")
        except (Exception, SystemExit) as error:
            raise StreamCodeError(
                f"stream {stream.name}: {file} cannot be imported: {reason(error, folder)}; mend it, nothing has to "
                "be started again"
            ) from error


def _package(folder: Path) -> str:
    """Name of the package whose modules are the folder's files, as these are now."""
    files = tuple(
        (each.name, status.st_mtime_ns, status.st_size)
        for each in sorted(folder.glob("*.py"))
        for status in (each.stat(),)
    )
    known, package = _LOADED.get(folder, ((), ""))
    if known != files:
        for loaded in [name for name in sys.modules if package and name.partition(".")[0] == package]:
            del sys.modules[loaded]
        package = f"etar_stream_{folder.name}_{sha256(repr((folder, files)).encode()).hexdigest()[:8]}"
        module = ModuleType(package, f"The code of {folder}.")
        module.__path__ = [str(folder)]
        sys.modules[package] = module
        importlib.invalidate_caches()
        _LOADED[folder] = (files, package)
    return package


def _where(stream: Stream, what: str) -> str:
    return f"stream {stream.name}: {what.partition(':')[2]} of {_file(stream, what)}"


def _told(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return faults(error)
    return f"{type(error).__name__}: {error}"


def reason(error: BaseException, folder: Path | None) -> str:
    """One line that says what and, if in the folder itself, where."""
    said = _told(error)
    if isinstance(error, SyntaxError):
        return said  # it names file and line
    line, trace = None, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).parent == folder:
            line = f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{said} ({line})" if line else said
