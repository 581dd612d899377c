"""Airflow: api-server, scheduler, DAG processor and, with Celery, workers as separate parts on one PostgreSQL."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from pathlib import Path

from stack import airflow_connections
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import celery, spark
from stack.parts.base import Part, Stack, Step, get, write_if_changed
from stack.parts.postgres import create_database
from stack.parts.reports import dashboard_address

ADMIN = "admin"
_DATABASE = "airflow"
_SETTINGS_OF_TASKS = (
    "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_S3_", "ETAR_PIPELINE_", "ETAR_RECONCILE_",
    "ETAR_DASHBOARD_URL",
)  # fmt: skip


def passwords_file(stack: Stack) -> Path:
    """Where the generated login of the web UI is."""
    return stack.layout.data("airflow") / "login.json"


def environment(stack: Stack) -> dict[str, str]:
    """Everything an Airflow process, or a person's `airflow` command, needs."""
    settings = stack.settings
    home = stack.layout.data("airflow")
    database_url = (
        f"postgresql+psycopg2://{_DATABASE}:{settings['ETAR_STACK_AIRFLOW_DATABASE_PASSWORD']}"
        f"@127.0.0.1:{settings.link('POSTGRES')}/{_DATABASE}"
    )
    airflow = {
        "AIRFLOW__API_AUTH__JWT_SECRET": settings["ETAR_STACK_AIRFLOW_JWT_SECRET"],
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{settings.port('AIRFLOW')}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.port("AIRFLOW")),
        "AIRFLOW__API__SECRET_KEY": settings["ETAR_STACK_AIRFLOW_SECRET_KEY"],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{settings.link('AIRFLOW')}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": settings["ETAR_STACK_AIRFLOW_FERNET_KEY"],
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Three minutes of the pipeline that wait for an outage to end, a backfill's, reconciling and audit.
        # Decision 19: one minute of each stream that stands still, and the audit, the reconciling run and a backfill's
        # minute beside them.
        "AIRFLOW__CORE__PARALLELISM": str(max(6, len(stack.streams) + 4)),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(stack)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        # A DAG file that was changed is parsed at once; how often one is that was not. The default of 30 s takes a
        # twentieth of a core for it.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # A task whose process was killed is tried again after this long, instead of Airflow's five minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        # Each look costs a twentieth of a second of a core, with PostgreSQL's part; a minute's one task has its two
        # seconds of grace to be found in (decision 24).
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": str(settings.scheduler_pause),
        "AIRFLOW_HOME": str(home),
        # Tasks are forked from processes that have imported NumPy and PyArrow (etar.pipeline.tasks.preload): without
        # these, both start a thread when they are imported, and no thread lives on in a fork.
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "OPENBLAS_NUM_THREADS": "1",
    }
    # An address for browsers, which the stack's settings or the environment of `etar up` may change.
    dashboard = {"ETAR_DASHBOARD_URL": dashboard_address(stack)}
    connections = {name: json.dumps(connection) for name, connection in _connections(stack).items()}
    return (
        airflow
        | (celery.environment(stack, database_url) if celery.runs(stack) else {})
        | connections
        | dashboard
        | settings.starting_with(*_SETTINGS_OF_TASKS)
        | spark.environment(*spark.credentials(stack))
    )


def _connections(stack: Stack) -> dict[str, airflow_connections.Fields]:
    settings = stack.settings
    return {
        "AIRFLOW_CONN_ETAR_WAREHOUSE": airflow_connections.warehouse(
            host=settings["ETAR_WAREHOUSE_HOST"],
            port=int(settings["ETAR_WAREHOUSE_PORT"]),
            database=settings["ETAR_WAREHOUSE_DATABASE"],
            user=settings["ETAR_WAREHOUSE_USER"],
            password=settings["ETAR_WAREHOUSE_PASSWORD"],
        ),
        "AIRFLOW_CONN_ETAR_S3": airflow_connections.object_store(
            endpoint_url=settings["ETAR_S3_ENDPOINT_URL"],
            region=settings["ETAR_S3_REGION"],
            access_key_id=settings["ETAR_S3_ACCESS_KEY_ID"],
            secret_access_key=settings["ETAR_S3_SECRET_ACCESS_KEY"],
        ),
        "AIRFLOW_CONN_ETAR_SPARK": spark.airflow_connection(stack),
        "AIRFLOW_CONN_ETAR_LEDGER": airflow_connections.report_store(
            host=settings["ETAR_REPORT_STORE_HOST"],
            port=int(settings["ETAR_REPORT_STORE_PORT"]),
            database=settings["ETAR_REPORT_STORE_DATABASE"],
            user=settings["ETAR_REPORT_STORE_USER"],
            password=settings["ETAR_REPORT_STORE_PASSWORD"],
        ),
        "AIRFLOW_CONN_ETAR_API": airflow_connections.http(
            host="127.0.0.1", port=settings.link("API"), token=settings["ETAR_API_WRITE_TOKEN"]
        ),
    }


def _migrate(stack: Stack) -> None:
    create_database(stack, _DATABASE, stack.settings["ETAR_STACK_AIRFLOW_DATABASE_PASSWORD"])
    write_if_changed(
        passwords_file(stack), json.dumps({ADMIN: stack.settings["ETAR_STACK_AIRFLOW_ADMIN_PASSWORD"]}) + "\n"
    )
    # `airflow db migrate` takes seconds even when there is nothing to do. The mark sits inside the database's own
    # folder, so that it goes when the database goes.
    version = importlib.metadata.version("apache-airflow")
    mark = stack.layout.data("postgres") / "etar-airflow-version"
    if mark.exists() and mark.read_text() == version:
        return
    log = stack.layout.log("airflow-migration")
    with log.open("ab") as out:
        migrate = [str(VENV_BIN / "airflow"), "db", "migrate"]
        env = stack.base_environment | environment(stack)
        done = subprocess.run(migrate, env=env, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"`airflow db migrate` failed with {done.returncode}; see {log}")
    mark.write_text(version)


def _healthy(stack: Stack, component: str) -> bool:
    health = get(f"http://127.0.0.1:{stack.settings.port('AIRFLOW')}/api/v2/monitor/health", timeout=5).json()
    return bool(health[component]["status"] == "healthy")


def _airflow_part(name: str, *arguments: str, component: str) -> Part:
    return Part(
        name=f"airflow-{name}",
        needs=("airflow-database", "redis"),
        command=lambda _: [str(VENV_BIN / "airflow"), name, *arguments],
        environment=environment,
        ready=lambda stack: _healthy(stack, component),
        address=lambda stack: f"http://127.0.0.1:{stack.settings.port('AIRFLOW')}" if name == "api-server" else None,
        stop_seconds=30,
    )


def _celery_worker(number: int) -> Part:
    hostname = f"worker-{number}"
    return Part(
        name=f"airflow-{hostname}",
        needs=("airflow-database", "redis"),
        command=lambda _: [
            str(VENV_BIN / "airflow"), "celery", "worker",
            "--celery-hostname", hostname, "--skip-serve-logs", "--without-mingle", "--without-gossip",
        ],
        environment=environment,
        ready=lambda stack: celery.worker_answers(stack, hostname),
        # On TERM it takes no more tasks and waits for those it runs; what is cut short is tried again.
        stop_seconds=30,
        enabled=celery.runs,
    )  # fmt: skip


AIRFLOW_DATABASE = Step(name="airflow-database", needs=("postgres",), action=_migrate)
AIRFLOW_API_SERVER = _airflow_part("api-server", component="metadatabase")
# Logs are read from the shared folder; serving them too would listen on every interface.
AIRFLOW_SCHEDULER = _airflow_part("scheduler", "--skip-serve-logs", component="scheduler")
AIRFLOW_DAG_PROCESSOR = _airflow_part("dag-processor", component="dag_processor")
AIRFLOW_WORKERS = (_celery_worker(1), _celery_worker(2))
