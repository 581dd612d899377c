"""The task ``analyse``: the analysis by a Spark that stays, or by a driver of its own; the connection says which."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook

from etar.errors import PermanentError, TransientError
from etar.pipeline.tasks import connections

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

    def execute(self, context: Any) -> None:
        """Raises AnalysisRefusedError, AnalysisFailedError, or what SparkSubmitOperator raises."""
        if BaseHook.get_connection(self._conn_id).conn_type != "http":
            super().execute(context)
            return
        for line in ask(self._conn_id, [str(argument) for argument in self.application_args or ()]):
            self.log.info("%s", line)


def ask(conn_id: str, arguments: list[str]) -> list[str]:
    """Have the Spark that stays run the analysis with these arguments; what it said.

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
        raise AnalysisFailedError("; ".join(answer["lines"]))
    lines: list[str] = answer["lines"]
    return lines
