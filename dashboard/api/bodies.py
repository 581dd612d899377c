"""From what was posted to a report, and from what is stored to an answer: where the streams' own models come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from dashboard.api.problems import invalid
from etar.report import MinuteReport, PublishedReport
from etar.stream_code import StreamCodeError, report_model
from etar.streams import DEFAULT_STREAM, StreamFaultError, UnknownStreamError, catalogue

_KEPT = 5000
"""Answers: some days of reports, a few MB."""


def posted(body: Mapping[str, Any]) -> MinuteReport:
    """The report that a body is, by the model of the stream that it names.

    Raises:
        RequestValidationError: there is no such stream, or the body is no report of it.
        StreamCodeError: the stream has no model that can be used, or it fails on this body.
    """
    name = body.get("stream", DEFAULT_STREAM)
    known = catalogue()
    try:
        stream = known.named(name if isinstance(name, str) else "")
    except UnknownStreamError:
        # By its ASCII form: a name may be what no answer can hold.
        raise invalid(
            ("body", "stream"), f"{ascii(name)[:100]} is no stream; known are {', '.join(sorted(known.streams))}"
        ) from None
    except StreamFaultError as error:
        raise StreamCodeError(str(error)) from error
    model = report_model(stream)
    try:
        report = model.complete(body)
        report.model_dump(mode="json")  # where fields that the model computes are made
    except ValidationError as error:
        parts = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**part, "loc": ("body", *part["loc"])} for part in parts]) from error
    except Exception as error:
        raise StreamCodeError(
            f"the model of stream {stream.name} ({stream.folder}) fails on this report: {type(error).__name__}: "
            f"{error}; mend it, nothing has to be started again"
        ) from error
    return report


def stored_model(stream: str) -> type[MinuteReport] | None:
    """The model that a stream's reports have now, if it has one that can be used: to read what is stored, none is
    needed."""
    known = catalogue().streams.get(stream)
    if known is None:
        return None
    try:
        return report_model(known)
    except StreamCodeError:
        return None


_in_order: dict[tuple[str, int, datetime], bytes] = {}
"""Answers in the order of a model, oldest first. They are looked for before the model is: to see whether a stream's
folder has changed takes longer than all else that an answer takes, and could change nothing but their order."""


def answer(
    content: str, *, model: Callable[[], type[MinuteReport] | None], revision: int, published_at: datetime
) -> bytes:
    """A stored report as it is served, JSON both: exactly what was posted, in the model's order where the model fits
    when it is first served. A stored revision never changes, so its answer is made once: of a day of them, making takes
    half a second.

    Args:
        model: gives the model, if there is one; it is asked for where the answer is not known yet.

    Raises:
        pydantic.ValidationError: the envelope is none.
    """
    key = (content, revision, published_at)
    if (known := _in_order.get(key)) is not None:
        return known
    made, fits = _made(content, model=model(), revision=revision, published_at=published_at)
    if fits:
        _in_order[key] = made
        if len(_in_order) > _KEPT:
            del _in_order[next(iter(_in_order))]
    return made


@lru_cache(maxsize=_KEPT)
def _made(
    content: str, *, model: type[MinuteReport] | None, revision: int, published_at: datetime
) -> tuple[bytes, bool]:
    """The answer, and whether it is in the model's order."""
    stored: dict[str, Any] = json.loads(content)
    published = PublishedReport(**stored, revision=revision, published_at=published_at)
    ordered, last = stored, frozenset[str]()
    modelled = None if model is None else _as_modelled(stored, model)
    if fits := model is not None and modelled == stored:
        # PostgreSQL's jsonb keeps an order of its own.
        ordered, last = modelled, frozenset(model.model_computed_fields)
    stamp = published.model_dump(mode="json", include={"revision", "published_at"})
    before = {name: value for name, value in ordered.items() if name not in last}
    served = before | stamp | {name: value for name, value in ordered.items() if name in last}
    return json.dumps(served, ensure_ascii=False, separators=(",", ":")).encode(), fits


def _as_modelled(content: Mapping[str, Any], model: type[MinuteReport]) -> dict[str, Any] | None:
    try:
        return model.model_validate(content).model_dump(mode="json")
    except Exception:  # code of anybody's, which reading does not depend on
        return None
