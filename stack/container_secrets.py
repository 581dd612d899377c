"""Makes the secrets of the containers: ``make secrets``, one file each in ``secrets/``.

What is there already is never changed. Runs on any Python 3.9 and with nothing installed: whoever starts the containers
needs no environment of ours.

The folder is its owner's alone, and the files in it are readable by all: a container engine mounts a secret with the
permissions it has on the host, each container runs as another user, and sees the files it was given and no others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stack import airflow_connections

Made = Mapping[str, str]
"""The secrets made so far: content by file name."""


def _password(_: Made) -> str:
    return secrets.token_hex(20)


def _nobody(_: Made) -> str:
    return ""


def _fernet_key(_: Made) -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _this_minute(_: Made) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:00+00:00", time.gmtime())


def _clickhouse_users(made: Made) -> str:
    digest = hashlib.sha256(made["etar_warehouse_password"].encode()).hexdigest()
    return f"<clickhouse><users><etar><password_sha256_hex>{digest}</password_sha256_hex></etar></users></clickhouse>\n"


def _clickhouse_reader(made: Made) -> str:
    digest = hashlib.sha256(made["reader_warehouse_password"].encode()).hexdigest()
    user = f"<etar-reader><password_sha256_hex>{digest}</password_sha256_hex></etar-reader>"
    return f"<clickhouse><users>{user}</users></clickhouse>\n"


def _redis_users(made: Made) -> str:
    # Airflow's broker: everything on data, nothing on the server itself.
    digest = hashlib.sha256(made["redis_password"].encode()).hexdigest()
    return f"user default on #{digest} ~* &* +@all -@admin\n"


def _spark_s3_credentials(made: Made) -> str:
    return f"[default]\naws_access_key_id = etar-spark\naws_secret_access_key = {made['spark_s3_secret']}\n"


def _spark_authentication(made: Made) -> str:
    return f"spark.authenticate true\nspark.authenticate.secret {made['spark_secret']}\n"


def _airflow_database_url(made: Made) -> str:
    return f"postgresql+psycopg2://airflow:{made['airflow_database_password']}@postgres:5432/airflow"


def _airflow_result_backend(made: Made) -> str:
    return f"db+{_airflow_database_url(made)}"


def _airflow_broker_url(made: Made) -> str:
    return f"redis://:{made['redis_password']}@redis:6379/0"


def _airflow_login(made: Made) -> str:
    return json.dumps({"admin": made["airflow_admin_password"]}) + "\n"


def _airflow_connections(made: Made) -> str:
    connections = {
        "etar_warehouse": airflow_connections.warehouse(
            host="clickhouse", port=8123, database="etar", user="etar", password=made["etar_warehouse_password"]
        ),
        "etar_s3": airflow_connections.object_store(
            endpoint_url="http://minio:9000",
            region="us-east-1",
            access_key_id="etar",
            secret_access_key=made["etar_s3_secret_access_key"],
        ),
        "etar_spark": airflow_connections.spark(
            master="spark://spark-master:7077", properties_file="/run/etar/spark.properties"
        ),
        "etar_ledger": airflow_connections.report_store(
            host="postgres", port=5432, database="etar", user="etar", password=made["etar_report_store_password"]
        ),
        "etar_api": airflow_connections.http(host="report-api", port=8000, token=made["etar_api_write_token"]),
    }
    return json.dumps(connections, indent=2) + "\n"


DRAWN: dict[str, Callable[[Made], str]] = {
    # Named like the variables of .env.example, in lower case: etar's own settings read them from /run/secrets.
    "etar_warehouse_password": _password,
    "etar_s3_secret_access_key": _password,
    "etar_report_store_password": _password,
    "etar_api_read_token": _password,
    "etar_api_write_token": _password,
    # No secret, but known only here as well: the first minute that is reported.
    "etar_pipeline_start_date": _this_minute,
    # Written by a person, who knows where alerts are to go (docs/alerts.md).
    "etar_alerts_targets": _nobody,
    "minio_root_password": _password,
    "spark_s3_secret": _password,
    "reader_warehouse_password": _password,
    "reader_s3_secret": _password,
    "spark_secret": _password,
    "postgres_password": _password,
    "redis_password": _password,
    "airflow_database_password": _password,
    "airflow_admin_password": _password,
    "airflow_jwt_secret": _password,
    "airflow_secret_key": _password,
    "airflow_fernet_key": _fernet_key,
    "grafana_admin_password": _password,
}
"""Files that hold something nobody else knows."""

FOLLOWING: dict[str, Callable[[Made], str]] = {
    "clickhouse_users.xml": _clickhouse_users,
    "clickhouse_reader.xml": _clickhouse_reader,
    "redis_users.acl": _redis_users,
    "spark_s3_credentials": _spark_s3_credentials,
    "spark_authentication.properties": _spark_authentication,
    "airflow_database_url": _airflow_database_url,
    "airflow_result_backend": _airflow_result_backend,
    "airflow_broker_url": _airflow_broker_url,
    "airflow_login.json": _airflow_login,
    "airflow_connections.json": _airflow_connections,
}
"""Files that say the same again in the form that a program reads."""


def make_secrets(folder: Path, say: Callable[[str], None]) -> None:
    """Make each file that is missing. Says names, never what is in them.

    Raises:
        OSError: the folder or a file cannot be written or read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made: dict[str, str] = {}
    new = 0
    for name, make in {**DRAWN, **FOLLOWING}.items():
        file = folder / name
        if not file.exists():
            _write(file, make(made))
            new += 1
            say(f"made {file}")
        made[name] = file.read_text()
        if name in FOLLOWING and made[name] != make(made):
            say(f"{file} does not follow from the other files: if you did not change it, delete it and run this again")
    say(f"{new} made, {len(made) - new} kept in {folder}")


def _write(file: Path, text: str) -> None:
    # Whole or not at all: half a secret would be kept for good.
    draft = file.with_name(f".{file.name}")
    draft.write_text(text)
    draft.chmod(0o444)
    draft.replace(file)


if __name__ == "__main__":
    make_secrets(Path(sys.argv[1]), print)
