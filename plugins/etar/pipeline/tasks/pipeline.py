"""The task of a stream's pipeline: a minute from its end to its report, in one process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from etar.ledger import StageCost
from etar.pipeline.tasks import announce, connections
from etar.pipeline.tasks.analysis import AnalysisOperator
from etar.pipeline.tasks.minute import DagRun, MinuteSteps
from etar.processor_time import processor_seconds
from etar.streams import Stream


class MinuteOperator(AnalysisOperator):
    """Settles, extracts, analyses and reports the minute of its run.

    In one process, as the steps take less than the way from one task's process to the next's (decision 24). Tried
    again, it does all steps again: each leaves what it left before.
    """

    def __init__(self, *, stream: Stream, **operator: Any) -> None:
        self.stream = stream
        self._steps = MinuteSteps(stream)
        super().__init__(on_failure_callback=self._steps.note_failure, outlets=[announce.REPORTS], **operator)

    def execute(self, context: Any) -> dict[str, Any]:
        """Returns the minute, how many rows its extract has, and the report's revision.

        Raises:
            NotOneMinuteError: the run's interval is no minute; besides, what the steps and the analysis raise.
        """
        run: DagRun = context["dag_run"]
        self._began = datetime.now(UTC)
        self._steps.say_where(run)
        store = connections.object_store()  # made while the minute's grace passes
        self._steps.settle(run)
        extract = self._steps.extract(run, store)
        if extract.rows:
            began = processor_seconds()
            self._steps.begin_analysis(run, extract.rows)
            self.name, self.application_args = f"etar {extract.minute}", extract.analysis_arguments(self.stream.name)
            elsewhere = self.analyse(context)
            spent = processor_seconds() - began + elsewhere
            self._steps.end_analysis(run, StageCost.of_extract(extract, spent))
        published = self._published = self._steps.report(run, extract.rows, store)
        return {"minute": extract.minute, "rows": extract.rows, "revision": published.revision}

    def post_execute(self, context: Any, result: Any = None) -> None:  # noqa: ARG002  (as Airflow calls it)
        """Tell those whose DAGs wait for reports."""
        announce.announce(self._published, context["outlet_events"], began=self._began)
