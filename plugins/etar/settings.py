"""Every setting of every part, read from the environment: one frozen class per concern, one cached getter each.

The names are the same wherever etar runs; ``.env.example`` documents each (a test compares the two). Nothing else in
the code base reads ``os.environ``. In a container a value may also be a file of ``/run/secrets``, named like the
variable in lower case; the variable wins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AwareDatetime, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]

SECRETS_FOLDER = Path("/run/secrets")
"""Where a container engine mounts secrets, one file each."""


class StreamSettings(BaseSettings):
    """Where the streams' folders are, and which of the streams are switched on."""

    model_config = SettingsConfigDict(env_prefix="ETAR_", frozen=True)

    streams: str = ""
    streams_folders: str = "streams"

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """Names in the order given, each once; None: nothing is said."""
        return tuple(dict.fromkeys(self.streams.replace(",", " ").split())) or None

    @property
    def folders(self) -> tuple[Path, ...]:
        """Each once, as written."""
        return tuple(dict.fromkeys(Path(folder) for folder in self.streams_folders.split(":") if folder.strip()))


class KafkaSettings(BaseSettings):
    """Where events come in."""

    model_config = SettingsConfigDict(env_prefix="ETAR_KAFKA_", frozen=True)

    bootstrap_servers: str = "127.0.0.1:9092"


class RegistrySettings(BaseSettings):
    """Schema registry with the Confluent API."""

    model_config = SettingsConfigDict(env_prefix="ETAR_REGISTRY_", frozen=True)

    url: str = "http://127.0.0.1:8081/apis/ccompat/v7"


class WarehouseAddress(BaseSettings):
    """Where ClickHouse is, or the HTTP front over chDB, and as whom: all that may be told without the password."""

    model_config = SettingsConfigDict(env_prefix="ETAR_WAREHOUSE_", frozen=True)

    host: str = "127.0.0.1"
    port: Port = 8123
    secure: bool = False
    database: str = "etar"
    user: str = "etar"


class WarehouseSettings(WarehouseAddress):
    """The warehouse, for who speaks to it."""

    password: SecretStr


class ObjectStoreSettings(BaseSettings):
    """The S3 store of extracts and results."""

    model_config = SettingsConfigDict(env_prefix="ETAR_S3_", frozen=True)

    endpoint_url: str = "http://127.0.0.1:7070"
    region: str = "us-east-1"
    bucket: str = "etar"
    access_key_id: str
    secret_access_key: SecretStr


class ReportStoreSettings(BaseSettings):
    """The PostgreSQL database that keeps reports, ledger and audit."""

    model_config = SettingsConfigDict(env_prefix="ETAR_REPORT_STORE_", frozen=True)

    host: str = "127.0.0.1"
    port: Port = 5432
    database: str = "etar"
    user: str = "etar"
    password: SecretStr


class ReportReadSettings(BaseSettings):
    """What a reader of the report API needs."""

    model_config = SettingsConfigDict(env_prefix="ETAR_API_", frozen=True)

    url: str = "http://127.0.0.1:8000"
    read_token: SecretStr


class ReportApiSettings(BaseSettings):
    """What the report API itself needs: both tokens, and the largest body it takes."""

    model_config = SettingsConfigDict(env_prefix="ETAR_API_", frozen=True)

    read_token: SecretStr = Field(min_length=16)
    write_token: SecretStr = Field(min_length=16)
    max_body_bytes: int = Field(default=1024 * 1024, gt=0)


class DashboardSettings(BaseSettings):
    """How the dashboard keeps up with the reports."""

    model_config = SettingsConfigDict(env_prefix="ETAR_DASHBOARD_", frozen=True)

    refresh_seconds: float = Field(default=5.0, gt=0, description="How often the page asks for new reports")
    overdue_seconds: float = Field(default=150.0, gt=0, description="Age of the newest minute's end that is too old")
    history_minutes: int = Field(default=180, ge=1, le=1440, description="Reports in the chart over time")


class RetentionSettings(BaseSettings):
    """How long the table keeps rows: what makes the table compares it with the table's own TTL."""

    model_config = SettingsConfigDict(env_prefix="ETAR_PIPELINE_", frozen=True)

    retention_hours: float = Field(default=26.0, gt=0, description="How long the table keeps a minute: its TTL")

    @property
    def retention(self) -> timedelta:
        return timedelta(hours=self.retention_hours)


class EventTimeSettings(RetentionSettings):
    """Which event times are believed."""

    horizon_hours: float = Field(default=24.0, gt=0, description="Events older than this on arrival are bad records")
    max_ahead_seconds: float = Field(default=300.0, ge=0, description="Event times further ahead are bad records")

    @property
    def horizon(self) -> timedelta:
        return timedelta(hours=self.horizon_hours)

    @property
    def max_ahead(self) -> timedelta:
        return timedelta(seconds=self.max_ahead_seconds)

    @model_validator(mode="after")
    def _kept_for_longer_than_believed(self) -> Self:
        if self.horizon >= self.retention:
            raise ValueError(
                f"horizon_hours ({self.horizon_hours:g}) must be less than retention_hours ({self.retention_hours:g}): "
                "an event that is believed when it arrives must still be in the table when its minute is reported again"
            )
        return self

    def believes(self, event_time: datetime, arrived: datetime) -> bool:
        """Whether an event time is near enough to the arrival to open a partition: ``(-horizon, +max_ahead]``."""
        return arrived - self.horizon < event_time <= arrived + self.max_ahead


class PipelineSettings(EventTimeSettings):
    """When a minute is taken."""

    start_date: AwareDatetime = Field(description="First minute that is reported if it is empty, too: the deployment")
    max_active_runs: int = Field(
        default=3, ge=1, description="Minutes at work at once, of all streams together, but at least one of each"
    )
    grace_seconds: float = Field(default=2.0, ge=0, description="Wait after a minute's end before its offsets are read")
    settle_timeout_seconds: float = Field(default=600.0, gt=0, description="Longest wait of one try for the sink")

    def runs_of_each(self, streams: int) -> int:
        """How many minutes of one stream are at work at once, where so many streams share the slots for tasks. A sink
        that stands still keeps each of them waiting, in a slot that the other streams have not."""
        return max(1, self.max_active_runs // max(1, streams))

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.grace_seconds)

    @property
    def settle_timeout(self) -> timedelta:
        return timedelta(seconds=self.settle_timeout_seconds)


class ReconcileSettings(BaseSettings):
    """How minutes whose report is missing or out of date are found and reported again."""

    model_config = SettingsConfigDict(env_prefix="ETAR_RECONCILE_", frozen=True)

    batch_minutes: int = Field(default=15, ge=1, description="Minutes that one run takes at most")
    allowance_seconds: float = Field(
        default=90.0, ge=0, description="How long after a minute's end its own run may take before it counts as missing"
    )
    stale_seconds: float = Field(
        default=300.0, gt=0, description="A run that has written nothing for this long is taken for dead"
    )

    @property
    def allowance(self) -> timedelta:
        return timedelta(seconds=self.allowance_seconds)

    @property
    def stale(self) -> timedelta:
        return timedelta(seconds=self.stale_seconds)


class SinkSettings(BaseSettings):
    """The native sink: how much it takes at once, and how long it waits to take it."""

    model_config = SettingsConfigDict(env_prefix="ETAR_SINK_", frozen=True)

    batch_rows: int = Field(default=50_000, ge=1)
    batch_seconds: float = Field(default=0.5, gt=0)
    retry_seconds: float = Field(default=1.0, gt=0)


class ConnectSettings(BaseSettings):
    """Kafka Connect: where a worker answers, and what the files of ``connect/`` leave open. None of it is secret."""

    model_config = SettingsConfigDict(env_prefix="ETAR_CONNECT_", frozen=True)

    url: str = "http://127.0.0.1:8083"
    wait_seconds: float = Field(default=120.0, gt=0, description="Longest wait for a worker, and for tasks to run")
    converter: str = Field(
        default="io.confluent.connect.avro.AvroConverter", description="Class of the Avro converter the workers have"
    )
    registry_url: str = Field(default="http://127.0.0.1:8081", description="Schema registry as that converter asks it")
    secrets_folder: str = Field(default="/run/secrets", description="Where the workers find secrets, one file each")
    tasks: int = Field(default=2, ge=1, description="Tasks of each connector, spread over the workers")
    replication_factor: int = Field(default=1, ge=1, description="Copies of the dead-letter topic that Connect makes")


class DeadLetterSettings(BaseSettings):
    """How dead letters are repaired and sent again."""

    model_config = SettingsConfigDict(env_prefix="ETAR_DEAD_LETTERS_", frozen=True)

    hook: str = Field(default="", description="module:function that repairs a record's fields, (dict, DeadLetter)")
    send_seconds: float = Field(default=10.0, gt=0, description="How long a replayed record may take to reach Kafka")


_Settings = TypeVar("_Settings", bound=BaseSettings)


@lru_cache
def get_settings(kind: type[_Settings]) -> _Settings:
    """The settings of one concern, read from the environment and the mounted secrets once a process.

    Raises:
        pydantic.ValidationError: a required variable is missing or a value does not fit; the message names it.
    """
    return kind(_secrets_dir=SECRETS_FOLDER if SECRETS_FOLDER.is_dir() else None)
