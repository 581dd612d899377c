"""Every setting of every part, read from the environment: one frozen class per concern, one cached getter each.

The names are the same wherever etar runs; ``.env.example`` documents each (a test compares the two). Nothing else in
the code base reads ``os.environ``. In a container a value may also be a file of ``/run/secrets``, named like the
variable in lower case; the variable wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, model_validator

from etar.minute import MinuteWindow

Port = Annotated[int, Field(ge=1, le=65535)]

SECRETS_FOLDER = Path("/run/secrets")
"""Where a container engine mounts secrets, one file each."""


class Concern(BaseModel):
    """The settings of one concern, each of which is a variable: ``PREFIX`` and the field's name in capitals.

    Not pydantic-settings: reading variables is all that is wanted of it, and importing it takes 30 to 70 ms of CPU.
    """

    # Built at its first use: a process uses a few of these classes.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    PREFIX: ClassVar[str]

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """The variable of each field."""
        return {field: f"{cls.PREFIX}{field}".upper() for field in cls.model_fields}

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """From variables by their names, among any others; what is not given has its default.

        Raises:
            pydantic.ValidationError: a required one is missing or a value does not fit; the message names it.
        """
        return cls.model_validate(
            {field: given[variable] for field, variable in cls.variables().items() if variable in given}
        )

    @classmethod
    def read(cls, secrets: Path) -> Self:
        """From the environment, and from files of the folder ``secrets``, which need not exist; as :meth:`of`."""
        files = {variable: secrets / variable.lower() for variable in cls.variables().values()}
        return cls.of({name: file.read_text().strip() for name, file in files.items() if file.is_file()} | os.environ)


class StreamSettings(Concern):
    """Where the streams' folders are, and which of the streams are switched on."""

    PREFIX = "ETAR_"

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


class KafkaSettings(Concern):
    """Where events come in."""

    PREFIX = "ETAR_KAFKA_"

    bootstrap_servers: str = "127.0.0.1:9092"


class RegistrySettings(Concern):
    """Schema registry with the Confluent API."""

    PREFIX = "ETAR_REGISTRY_"

    url: str = "http://127.0.0.1:8081/apis/ccompat/v7"


class WarehouseAddress(Concern):
    """Where ClickHouse is, or the HTTP front over chDB, and as whom: all that may be told without the password."""

    PREFIX = "ETAR_WAREHOUSE_"

    host: str = "127.0.0.1"
    port: Port = 8123
    secure: bool = False
    database: str = "etar"
    user: str = "etar"


class WarehouseSettings(WarehouseAddress):
    """The warehouse, for who speaks to it."""

    password: SecretStr


class ObjectStoreSettings(Concern):
    """The S3 store of extracts and results."""

    PREFIX = "ETAR_S3_"

    endpoint_url: str = "http://127.0.0.1:7070"
    region: str = "us-east-1"
    bucket: str = "etar"
    access_key_id: str
    secret_access_key: SecretStr


class ReportStoreSettings(Concern):
    """The PostgreSQL database that keeps reports, ledger and audit."""

    PREFIX = "ETAR_REPORT_STORE_"

    host: str = "127.0.0.1"
    port: Port = 5432
    database: str = "etar"
    user: str = "etar"
    password: SecretStr


class ReportReadSettings(Concern):
    """What a reader of the report API needs."""

    PREFIX = "ETAR_API_"

    url: str = "http://127.0.0.1:8000"
    read_token: SecretStr


class ReportApiSettings(Concern):
    """What the report API itself needs: both tokens, and how much of whom it takes."""

    PREFIX = "ETAR_API_"

    read_token: SecretStr = Field(min_length=16)
    write_token: SecretStr = Field(min_length=16)
    max_body_bytes: int = Field(default=1024 * 1024, gt=0)
    max_requests_a_minute: int = Field(
        default=6000, ge=0, description="Requests of one token; 0: any number. `etar up` of 20 streams makes 1,200"
    )
    max_refusals_a_minute: int = Field(
        default=600, ge=0, description="Requests of one address without a good token; 0: any number"
    )


class DashboardAddress(Concern):
    """Where people find the dashboard."""

    PREFIX = "ETAR_DASHBOARD_"

    url: str = Field(
        default="http://127.0.0.1:8501",
        pattern=r"^https?://\S+$",
        description="The dashboard as a browser reaches it, for Airflow's links to minutes",
    )

    @staticmethod
    def minutes_path(stream: str) -> str:
        """Of the stream's page of minutes. No stream's name has a hyphen."""
        return f"{stream}-minutes"

    @staticmethod
    def account_path(stream: str) -> str:
        """Of the stream's page of its account."""
        return f"{stream}-account"

    @staticmethod
    def dead_letters_path(stream: str) -> str:
        """Of the stream's page of dead letters."""
        return f"{stream}-dead-letters"

    def minute_page(self, stream: str, window: MinuteWindow) -> str:
        """Address of the page about one minute: the stream's page of minutes, with that one chosen."""
        page = f"{self.url.rstrip('/')}/{self.minutes_path(stream)}"
        return f"{page}?day={window.start:%Y-%m-%d}&minute={window.start:%H:%M}"


class DashboardSettings(Concern):
    """How the dashboard keeps up with the reports."""

    PREFIX = "ETAR_DASHBOARD_"

    refresh_seconds: float = Field(default=5.0, gt=0, description="How often the page asks for new reports")
    live_seconds: float = Field(default=0.5, gt=0, description="How often a page of live windows asks for new ones")
    overdue_seconds: float = Field(default=150.0, gt=0, description="Age of the newest minute's end that is too old")
    base_path: str = Field(
        default="",
        pattern=r"^(/[\w.~-]+)*$",
        description="path under which a reverse proxy serves the dashboard, like /etar; empty for none",
    )
    history_minutes: int = Field(default=180, ge=1, le=1440, description="Reports in the chart over time")
    airflow_url: str = Field(
        default="http://127.0.0.1:8080",
        pattern=r"^(https?://\S+)?$",
        description="Airflow's UI as a browser reaches it, for links to runs; empty: no links",
    )


class RetentionSettings(Concern):
    """How long the table keeps rows: what makes the table compares it with the table's own TTL."""

    PREFIX = "ETAR_PIPELINE_"

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


class ReconcileSettings(Concern):
    """How minutes whose report is missing or out of date are found and reported again."""

    PREFIX = "ETAR_RECONCILE_"

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


class SinkSettings(Concern):
    """The native sink: how much it takes at once, and how long it waits to take it."""

    PREFIX = "ETAR_SINK_"

    batch_rows: int = Field(default=50_000, ge=1)
    batch_seconds: float = Field(default=10.0, gt=0, le=60)
    retry_seconds: float = Field(default=1.0, gt=0)


class StreamJobSettings(Concern):
    """The long-lived jobs of streams."""

    PREFIX = "ETAR_JOBS_"

    trigger_seconds: float = Field(default=1.0, gt=0, le=3600, description="A micro-batch begins so often at most")
    batch_records: int = Field(default=50_000, ge=1, description="Records that one micro-batch takes at most")
    partitions: int = Field(default=2, ge=1, le=1000, description="Parts of a job's state; kept by a checkpoint")
    console: bool = Field(default=False, description="Have a job print what each micro-batch changed")


class ConnectSettings(Concern):
    """Kafka Connect: where a worker answers, and what the files of ``connect/`` leave open. None of it is secret."""

    PREFIX = "ETAR_CONNECT_"

    url: str = "http://127.0.0.1:8083"
    wait_seconds: float = Field(default=120.0, gt=0, description="Longest wait for a worker, and for tasks to run")
    converter: str = Field(
        default="io.confluent.connect.avro.AvroConverter", description="Class of the Avro converter the workers have"
    )
    registry_url: str = Field(default="http://127.0.0.1:8081", description="Schema registry as that converter asks it")
    secrets_folder: str = Field(default="/run/secrets", description="Where the workers find secrets, one file each")
    tasks: int = Field(default=2, ge=1, description="Tasks of each connector, spread over the workers")
    replication_factor: int = Field(default=1, ge=1, description="Copies of the dead-letter topic that Connect makes")


class DeadLetterSettings(Concern):
    """How dead letters are repaired and sent again."""

    PREFIX = "ETAR_DEAD_LETTERS_"

    hook: str = Field(default="", description="module:function that repairs a record's fields, (dict, DeadLetter)")
    send_seconds: float = Field(default=10.0, gt=0, description="How long a replayed record may take to reach Kafka")


class AlertRuleSettings(Concern):
    """Which alerts there are: all that may be told without the targets, whose addresses hold passwords."""

    PREFIX = "ETAR_ALERTS_"

    rules: str = Field(default="", description="File of rules in place of etar's own")

    @property
    def rules_file(self) -> Path | None:
        return Path(self.rules) if self.rules else None


class AlertSettings(AlertRuleSettings):
    """Whom alerts are told to, and how often it is looked whether there is one."""

    targets: SecretStr = SecretStr("")
    look_seconds: float = Field(default=5.0, ge=1, le=30, description="How often the rules are evaluated")


_Settings = TypeVar("_Settings", bound=Concern)


@lru_cache
def get_settings(kind: type[_Settings]) -> _Settings:
    """The settings of one concern, read from the environment and the mounted secrets once a process.

    Raises:
        pydantic.ValidationError: a required variable is missing or a value does not fit; the message names it.
    """
    return kind.read(SECRETS_FOLDER)
