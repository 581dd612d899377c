"""Has Airflow run the reporting task several times, on a database of its own, and prints as JSON what it then knows.

In a process of its own: Airflow keeps the database that it is imported with.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from sqlalchemy import select


def main() -> None:
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    folder = Path(__file__).with_name("dags")
    bag = DagBag(folder, bundle_path=folder)
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)
    told: list[Any] = []
    for step in json.loads(sys.argv[1]):
        os.environ |= {"PUBLISHED_AT": datetime.now(UTC).isoformat()} if step.pop("new", False) else {}
        os.environ["ENDS"] = ""
        os.environ |= step
        state = bag.dags["reporting"].test().state
        schedule()
        with create_session() as session:
            events = [[event.asset.uri, event.extra] for event in session.scalars(select(AssetEvent))]
            runs = [run.run_type for run in session.scalars(select(DagRun).where(DagRun.dag_id == "consumer"))]
        told.append({"state": state, "events": events, "consumer": runs})
    print(json.dumps(told))


def schedule() -> None:
    """What the scheduler does in each of its rounds about DAGs that need a run."""
    runner = SchedulerJobRunner(job=Job())
    with create_session() as session, prohibit_commit(session) as guard:
        runner._create_dagruns_for_dags(guard, session)
        guard.commit()
    with create_session() as session:
        # Airflow does not list the events of a run that is still queued.
        for run in session.scalars(select(DagRun).where(DagRun.dag_id == "consumer")):
            run.start_date = run.start_date or datetime.now(UTC)


if __name__ == "__main__":
    main()
