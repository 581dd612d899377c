"""Imports the libraries that tasks need, once, in the process that tasks are forked from.

Airflow forks a process for each task, which imports what the parent had not: 0.6 to 2 s of processor time a task. Two
parents import this module before they fork: the scheduler, whose LocalExecutor keeps workers
(``plugins/etar_airflow_plugin.py``), and Celery's workers (the setting ``imports``).

Libraries only: our own modules are read by each task, so that a change of one is in force with the next task (but for
the few that the scheduler needs itself: ``priority``, ``timetable``, ``etar.backfills`` and ``etar.minute``). Nothing
may be made here that a fork does not carry over, like a client or a thread. NumPy and PyArrow start threads of their
own; ``OPENBLAS_NUM_THREADS`` and ``JE_ARROW_MALLOC_CONF`` in Airflow's environment keep them from it.
"""

# ruff: noqa: F401

import airflow.providers.amazon.aws.hooks.s3
import airflow.providers.apache.spark.operators.spark_submit
import airflow.providers.clickhousedb.hooks.clickhouse
import airflow.providers.http.hooks.http
import airflow.providers.postgres.hooks.postgres
import airflow.providers.standard.decorators.python
import airflow.providers.standard.decorators.short_circuit
import airflow.sdk.definitions.retry_policy
import airflow.sdk.execution_time.supervisor
import airflow.sdk.execution_time.task_runner
import boto3
import boto3.s3.inject
import botocore.handlers
import clickhouse_connect
import confluent_kafka.admin
import confluent_kafka.schema_registry
import fastavro
import numpy.typing
import pandas  # PyArrow imports it when it makes its first scalar
import psycopg.types.json
import pyarrow.compute
import pyarrow.parquet
import requests
