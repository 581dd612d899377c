"""docs/api-reference.md: every route of the report API, as ``/openapi.json`` has it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from dashboard.api.main import create_app
from etar.settings import get_settings
from handbook.tables import table
from stack.configuration import make_settings

_HEAD = """\
# Report API

```
curl -sH "Authorization: Bearer $ETAR_API_READ_TOKEN" "$ETAR_API_URL/v1/report?minute=2026-11-21T10:31Z"
```

Each route is for tokens of one role; what a reader may do, an operator may, too ([roles](api.md#tokens-and-roles)). How
to follow reports, read a long range and understand a refusal: [for programs](api.md). Each path is there with and
without `/v1`. `HEAD` answers like `GET`, without a body. Refusals are `application/problem+json`.

This page is generated from `/openapi.json`: `make reference` writes it, and a test says when it is out of date.

## All routes
"""
_EVERYWHERE = ("401", "403", "422", "429", "503")
"""Answers that are told once, for all routes."""
_LISTED = 20
"""Items of a list in an example, at most."""
_WIDTH = 110
"""Columns of a line of an example."""


@cache
def document() -> Mapping[str, Any]:
    """The OpenAPI document of the streams of this repository, with the settings of a native stack."""
    own = ("ETAR_API_", "ETAR_REPORT_STORE_", "ETAR_PIPELINE_", "ETAR_RECONCILE_")
    values = make_settings({}, {}, datetime(2026, 1, 1, tzinfo=UTC)).starting_with(*own)
    with patch.dict(os.environ, values):
        try:
            return create_app().openapi()
        finally:
            get_settings.cache_clear()


def render() -> str:
    """The whole page."""
    routes = [
        (f"{method.upper()} {path}", route)
        for path, own in document()["paths"].items()
        for method, route in own.items()
    ]
    rows = [(f"`{name}`", route["summary"], _role(route)) for name, route in routes]
    lines = [_HEAD, *table("route", "what it is", "role", rows=rows)]
    lines += ["Besides what is told of each route:\n", *table("status", "means", rows=_common(routes))]
    told: dict[str, str] = {}
    for name, route in routes:
        lines += _section(name, route, told)
    return "\n".join(lines)


def _role(route: Mapping[str, Any]) -> str:
    return ", ".join(name.removesuffix("Token") for each in route.get("security", ()) for name in each) or "none"


def _common(routes: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Each answer in the words of its routes, which are the same for all of them."""
    found = {
        (status, answer["description"])
        for _, route in routes
        for status, answer in route["responses"].items()
        if status in _EVERYWHERE
    }
    return sorted(found)


def _section(name: str, route: Mapping[str, Any], told: dict[str, str]) -> Iterator[str]:
    """``told``: examples that stand further above, with where; what stands there is not told again."""
    yield f"## {name}\n"
    yield f"{route['summary']}.\n"
    if route.get("description"):
        yield f"{route['description']}\n"
    yield from table("parameter", "in", "what it is", rows=map(_parameter, route.get("parameters", ())))
    answers = {status: answer for status, answer in sorted(route["responses"].items()) if status not in _EVERYWHERE}
    yield from table("status", "answer", rows=[(status, _answer(answer)) for status, answer in answers.items()])
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    for each in list(body.get("examples", {}).values())[:1]:
        yield from _example("A body", each["value"], f"the body of `{name}`", told)
    for status, answer in answers.items():
        for kind, content in answer.get("content", {}).items():
            if status.startswith("2") and "example" in content:
                yield from _example(f"{status}, `{kind}`", content["example"], f"{status} of `{name}`", told)


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str, str]:
    schema = parameter["schema"]
    about = parameter.get("description") or ""
    terms = [f"default: {schema['default']}"] if "default" in schema else []
    terms += [f"like {example}" for example in schema.get("examples", ())[:1] if example != schema.get("default")]
    kinds = [schema, *schema.get("anyOf", ())]
    terms += [f"{each['minimum']} to {each['maximum']}" for each in kinds if "minimum" in each and "maximum" in each]
    terms += ["required"] if parameter.get("required") else []
    return f"`{parameter['name']}`", parameter["in"], about + (f" ({'; '.join(terms)})" if terms else "")


def _answer(answer: Mapping[str, Any]) -> str:
    about: str = answer["description"].replace("Successful Response", "As asked for")
    headers = ", ".join(f"`{name}`" for name in answer.get("headers", ()))
    return about + (f"; with {headers}" if headers else "")


def _example(title: str, example: Any, place: str, told: dict[str, str]) -> Iterator[str]:
    text: str = example.rstrip() if isinstance(example, str) else _json(_shortened(example))
    if text in told:
        yield f"{title}: as {told[text]}.\n"
    elif isinstance(example, list) and _json(example[0]) in told:
        yield f"{title}: a list of such as {told[_json(example[0])]}.\n"
    else:
        told[text] = place
        yield f"{title}:\n"
        yield f"```{'' if isinstance(example, str) else 'json'}\n{text}\n```\n"


def _shortened(value: Any) -> Any:
    """With the first few of a list that is a page long, and how many more there are."""
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        shown = value if len(value) <= _LISTED else value[:3]
        more = [] if shown is value else [f"… {len(value) - len(shown)} more"]
        return [*map(_shortened, shown), *more]
    return value


def _json(value: Any, margin: str = "") -> str:
    """As ``json.dumps`` with an indent, but what fits into a line is one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(margin) + len(line) <= _WIDTH or not isinstance(value, dict | list):
        return line
    deeper = margin + "  "
    if isinstance(value, dict):
        inner = [f"{json.dumps(key)}: {_json(each, deeper)}" for key, each in value.items()]
    else:
        inner = [_json(each, deeper) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{deeper}" + f",\n{deeper}".join(inner) + f"\n{margin}{closing}"
