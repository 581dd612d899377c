"""From what was posted to a report, and from what is stored to an answer: where the streams' own models come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from dashboard.api.problems import invalid
from etar.report import MinuteReport, PublishedReport
from etar.stream_code import StreamCodeError, report_model
from etar.streams import DEFAULT_STREAM, StreamFaultError, UnknownStreamError, catalogue


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


def answer(
    content: Mapping[str, Any], *, model: type[MinuteReport] | None, revision: int, published_at: datetime
) -> dict[str, Any]:
    """A stored report as it is served: exactly what was posted, in the model's order where the model still fits.

    Raises:
        pydantic.ValidationError: the envelope is none.
    """
    published = PublishedReport(**content, revision=revision, published_at=published_at)
    ordered, last = content, frozenset[str]()
    if model is not None and (modelled := _as_modelled(content, model)) == content:
        # PostgreSQL's jsonb keeps an order of its own.
        ordered, last = modelled, frozenset(model.model_computed_fields)
    stamp = published.model_dump(mode="json", include={"revision", "published_at"})
    before = {name: value for name, value in ordered.items() if name not in last}
    return before | stamp | {name: value for name, value in ordered.items() if name in last}


def _as_modelled(content: Mapping[str, Any], model: type[MinuteReport]) -> dict[str, Any] | None:
    try:
        return model.model_validate(content).model_dump(mode="json")
    except Exception:  # code of anybody's, which reading does not depend on
        return None
