"""What OpenAPI says of reports, which is the streams' to say: their models, told apart by ``stream``, and examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from dashboard.api.problems import InvalidRequest, Problem
from etar.minute import MinuteWindow
from etar.report import MinuteReport, PublishedReport
from etar.stream_code import StreamCodeError, report_model
from etar.streams import DEFAULT_STREAM, catalogue

_SCHEMAS = "#/components/schemas/"
_MAY_BE_LEFT_OUT = {"schema_version", "stream"}
_PUBLISHED_AFTER = timedelta(seconds=11.412)


def install(app: FastAPI) -> None:
    """Have ``/openapi.json`` describe the streams that there are when it is asked for."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = deepcopy(described())
        document["components"]["schemas"] |= _problems()
        _describe(document, _models())
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _problems() -> dict[str, Any]:
    _, found = models_json_schema(
        [(each, "serialization") for each in (Problem, InvalidRequest)], ref_template=f"{_SCHEMAS}{{model}}"
    )
    return dict(found["$defs"])


def _models() -> dict[type[MinuteReport], list[str]]:
    """The models that can be used, each with its streams, the one whose folder it is before those like it; the first
    stream's first."""
    known = catalogue().streams
    found: dict[type[MinuteReport], list[str]] = defaultdict(list)
    for name in sorted(known, key=lambda name: (name != DEFAULT_STREAM, known[name].like is not None, name)):
        try:
            found[report_model(known[name])].append(name)
        except StreamCodeError:
            continue
    return found


def _describe(document: dict[str, Any], models: Mapping[type[MinuteReport], list[str]]) -> None:
    components: dict[str, Any] = document["components"]["schemas"]
    references: dict[str, str] = {}
    examples: dict[str, dict[str, Any]] = {}
    for model, streams in models.items():
        first = streams[0]
        schema = model.model_json_schema(ref_template=f"{_SCHEMAS}{first}.{{model}}")
        components |= {f"{first}.{name}": each for name, each in schema.pop("$defs", {}).items()}
        schema["required"] = [name for name in model.model_fields if name not in _MAY_BE_LEFT_OUT]
        components[f"{first}.{model.__name__}"] = schema
        references |= dict.fromkeys(streams, f"{_SCHEMAS}{first}.{model.__name__}")
        examples[first] = example_of(model, first)

    paths = document["paths"]
    body = paths["/report"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"] = {
        "oneOf": [{"$ref": reference} for reference in dict.fromkeys(references.values())],
        "discriminator": {"propertyName": "stream", "mapping": references},
        "description": f"The report of the stream that `stream` names; without, of {DEFAULT_STREAM}",
    }
    body["examples"] = {name: {"summary": f"One minute of {name}", "value": each} for name, each in examples.items()}

    if examples:
        published = _published(next(iter(examples.values())), next(iter(models)))
        for path, method, status, value in (
            ("/report", "post", "200", published),
            ("/report", "post", "201", published),
            ("/report", "get", "200", published),
            ("/reports", "get", "200", [published]),
        ):
            paths[path][method]["responses"][status]["content"]["application/json"]["example"] = value


def example_of(model: type[MinuteReport], stream: str) -> dict[str, Any]:
    """The model's own example, as pydantic has it (``json_schema_extra``), or the report of a minute without events."""
    extra = model.model_config.get("json_schema_extra")
    if isinstance(extra, dict) and isinstance(examples := extra.get("examples"), list) and examples:
        return dict(examples[0])  # type: ignore[arg-type]
    return model.empty(MinuteWindow.parse("2026-11-21T10:31Z"), stream=stream).model_dump(mode="json")


def _published(example: dict[str, Any], model: type[MinuteReport]) -> dict[str, Any]:
    report = model.model_validate(example)
    dumped = report.model_dump(mode="json")
    published = PublishedReport(**dumped, revision=1, published_at=report.window.end + _PUBLISHED_AFTER)
    return dumped | published.model_dump(mode="json", include={"revision", "published_at"})
