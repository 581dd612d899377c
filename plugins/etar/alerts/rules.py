"""The alert rules (``alerts.yml``), which Prometheus takes as they are, and what they say of given numbers."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from etar.alerts.numbers import METRICS, Labels, Sample, Scope, key, series
from etar.streams import Stream

RULES = Path(__file__).with_name("alerts.yml")

_COMPARISONS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "==": operator.eq}
_EXPRESSION = re.compile(
    r"(?P<metric>[a-z_]\w*)\s*(?P<comparison>[<>]=?|==)\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<other>[a-z_]\w*))"
)
_DURATION = re.compile(r"(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?")
_PLACE = re.compile(r"\{\{\s*(?:\$labels\.(?P<label>\w+)|(?P<value>\$value))\s*\}\}")


class RulesError(Exception):
    """The file of rules cannot be read, or is not of the form that etar understands; says what and where."""


class Annotations(BaseModel):
    """What is wrong, and what to press; ``{{ $labels.stream }}`` and ``{{ $value }}`` are filled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    description: str = ""


class AlertRule(BaseModel):
    """One rule, as Prometheus has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert: str = Field(min_length=1)
    expr: str
    for_: str = Field(default="0s", alias="for")
    labels: Mapping[str, str] = {}
    annotations: Annotations

    @field_validator("expr")
    @classmethod
    def _understood(cls, expression: str) -> str:
        parts = _EXPRESSION.fullmatch(expression)
        if not parts:
            raise ValueError(
                f"{expression!r} is not METRIC COMPARISON NUMBER, or another METRIC in place of the number"
            )
        for name in (parts["metric"], parts["other"]):
            if name is not None and name not in METRICS:
                raise ValueError(f"there is no metric {name}; there are {', '.join(METRICS)}")
        if parts["other"] and METRICS[parts["other"]].scope is not METRICS[parts["metric"]].scope:
            raise ValueError(f"{parts['metric']} and {parts['other']} are not of the same things")
        return expression

    @field_validator("for_")
    @classmethod
    def _a_duration(cls, text: str) -> str:
        duration(text)
        return text

    @property
    def patience(self) -> timedelta:
        """How long it has to hold."""
        return duration(self.for_)

    @property
    def scope(self) -> Scope:
        """What it says something of each of."""
        return METRICS[self._parts()["metric"]].scope

    def verdicts(self, samples: Iterable[Sample], streams: Iterable[Stream]) -> Iterator[Verdict]:
        """What it says of each series that there is while these streams are on. Of two metrics, those with the same
        labels are compared."""
        parts = self._parts()
        compare = _COMPARISONS[parts["comparison"]]
        known = {(each.name, key(each.labels)): each.value for each in samples}
        for labels in series(self.scope, streams):
            value = known.get((parts["metric"], key(labels)))
            limit = float(parts["number"]) if parts["number"] else known.get((parts["other"], key(labels)))
            holds = None if value is None or limit is None else bool(compare(value, limit))
            yield Verdict(self, labels, holds, value)

    def summary(self, labels: Labels, value: float | None) -> str:
        return filled(self.annotations.summary, labels, value)

    def description(self, labels: Labels, value: float | None) -> str:
        return filled(self.annotations.description, labels, value)

    def _parts(self) -> re.Match[str]:
        parts = _EXPRESSION.fullmatch(self.expr)
        assert parts is not None  # noqa: S101
        return parts


@dataclass(frozen=True)
class Verdict:
    """What a rule says of one series now. ``holds`` is None where a number is not known; then it is not well."""

    rule: AlertRule
    labels: Labels
    holds: bool | None
    value: float | None


def read_rules(file: Path | None = None) -> tuple[AlertRule, ...]:
    """Those of a file; etar's own of none.

    Raises:
        RulesError: it cannot be read, two rules have one name, or one is of a form that only Prometheus understands.
    """
    file = file or RULES
    try:
        found = rules_of(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RulesError(f"the alert rules in {file} cannot be read: {error!r}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors(include_input=False))
        raise RulesError(f"an alert rule in {file} is not understood: {problems}") from error
    names = [rule.alert for rule in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RulesError(f"{file} has more than one rule of the name {', '.join(twice)}")
    return found


def rules_of(document: Mapping[str, Any]) -> tuple[AlertRule, ...]:
    """Those of a document of Prometheus's form.

    Raises:
        pydantic.ValidationError: a rule is of a form that only Prometheus would understand.
    """
    return tuple(AlertRule.model_validate(rule) for group in document["groups"] for rule in group["rules"])


def duration(text: str) -> timedelta:
    """Of ``90s``, ``5m``, ``1h30m``, ``2d``.

    Raises:
        ValueError: it is nothing like that.
    """
    parts = _DURATION.fullmatch(text)
    if not text or not parts:
        raise ValueError(f"{text!r} is no duration; write it like 90s, 5m, 1h30m or 2d")
    return timedelta(**{name: int(number) for name, number in parts.groupdict().items() if number})


def filled(text: str, labels: Labels, value: float | None) -> str:
    """A rule's text with the labels and the value of one series. What it has none of is a dash."""

    def known(place: re.Match[str]) -> str:
        if place["value"]:
            return "-" if value is None else f"{value:.6g}"
        return labels.get(place["label"], "-")

    return _PLACE.sub(known, text)
