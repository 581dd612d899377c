"""The task ``analyse``: the analysis by a Spark that stays, or by a driver of its own; the connection says which."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook

from etar.errors import PermanentError, TransientError
from etar.pipeline.tasks import connections
from etar.processor_time import processor_seconds

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 600


class AnalysisRefusedError(PermanentError):
    """The Spark that stays does not take the token or the arguments."""


class AnalysisFailedError(TransientError):
    """Spark is away, or could not make every result; what it said is in the message."""


class AnalysisOperator(SparkSubmitOperator):  # type: ignore[misc]
    """Runs an application with these arguments where ``conn_id`` says.

    A connection of type ``spark`` is where spark-submit starts a driver for this task. One of type ``http`` is a
    Spark that stays (``spark_apps/analysis_server.py``), its password the token: it has the application loaded.
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """Returns the seconds of a core that it took, ``{"cpu_seconds": 1.5}``. Raises as :meth:`analyse`."""
        began = processor_seconds()
        elsewhere = self.analyse(context)
        return {"cpu_seconds": processor_seconds() - began + elsewhere}

    def analyse(self, context: Any) -> float:
        """Run the application; returns the seconds of a core that it took of the Spark that stays. What a driver of
        its own takes, this process sees itself.

        Raises:
            AnalysisRefusedError, AnalysisFailedError, or what SparkSubmitOperator raises.
        """
        if BaseHook.get_connection(self._conn_id).conn_type != "http":
            super().execute(context)
            return 0.0
        lines, seconds = ask(self._conn_id, [str(argument) for argument in self.application_args or ()])
        for line in lines:
            self.log.info("%s", line)
        return seconds


def ask(conn_id: str, arguments: list[str]) -> tuple[list[str], float]:
    """Have the Spark that stays run the analysis with these arguments; what it said, and the seconds of a core that it
    took.

    Raises:
        AnalysisRefusedError, AnalysisFailedError.
    """
    from requests import RequestException

    options = {"check_response": False, "allow_redirects": False, "timeout": (_CONNECT_SECONDS, _ANSWER_SECONDS)}
    try:
        response = connections.http_with_token(conn_id).run(
            "/analyses", json={"arguments": arguments}, extra_options=options
        )
    except RequestException as error:
        raise AnalysisFailedError(f"the Spark of connection {conn_id!r} does not answer: {error}") from error
    said = response.text[:2000]
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise AnalysisFailedError(f"the Spark of connection {conn_id!r} answered {response.status_code}: {said}")
    if not response.ok:
        raise AnalysisRefusedError(f"the Spark of connection {conn_id!r} answered {response.status_code}: {said}")
    answer = response.json()
    if answer["code"]:
        _tell_log(answer.get("log", []), answer.get("log_file"))
        raise AnalysisFailedError("; ".join(answer["lines"]))
    return answer["lines"], answer["cpu_seconds"]


def _tell_log(lines: list[str], file: str | None) -> None:
    """Have the task's log hold the end of Spark's, which nobody then has to look for on another machine."""
    if not file:
        return
    _log.error(
        "Spark's own log of this analysis ends with %d lines; the whole is %s where Spark runs", len(lines), file
    )
    for line in lines:
        _log.error("spark: %s", line)
