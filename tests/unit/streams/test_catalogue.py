"""What is read of the streams' folders: sound ones, and what is said of those that are not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from etar.bootstrap.migrations import Migration, pending, stream_migrations, stream_postgres_migrations
from etar.page import Form
from etar.settings import StreamSettings
from etar.streams import (
    DEFAULT_STREAM,
    Catalogue,
    Key,
    KeyForm,
    Limits,
    RecordFormat,
    Stream,
    StreamFaultError,
    TimeForm,
    UnknownStreamError,
    Windows,
    WindowValue,
    catalogue,
    default_stream,
)
from stack.layout import REPOSITORY

AVRO = json.dumps(
    {
        "type": "record",
        "name": "Sale",
        "fields": [
            {"name": "sale_id", "type": "string"},
            {"name": "shop", "type": "string"},
            {"name": "sold_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        ],
    }
)
SOUND = """
[stream]
name = "sales"
[event]
id = ["sale_id"]
time = "sold_at"
"""
LIKE = """
[stream]
name = "other"
like = "sales"
"""


def tables_of_the_store() -> set[str]:
    """What the shared statements for PostgreSQL make."""
    made = re.compile(r"^CREATE (?:TABLE|VIEW)(?: IF NOT EXISTS)? (\w+)", re.MULTILINE)
    files = (REPOSITORY / "sql" / "postgres").glob("*.sql")
    return {name for file in files for name in made.findall(file.read_text())} | {"schema_migrations"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "streams"


def write(folder: Path, name: str, definition: str, *, schema: str | None = AVRO, file: str = "schema.avsc") -> Path:
    own = folder / name
    (own / "sql").mkdir(parents=True, exist_ok=True)
    (own / "stream.toml").write_text(definition)
    (own / "sql" / "0001_table.sql").write_text(f"CREATE TABLE IF NOT EXISTS {name} (x Int8)")
    if schema is not None:
        (own / file).write_text(schema)
    return own


def read(*folders: Path, streams: str = "") -> Catalogue:
    return catalogue(StreamSettings(streams=streams, streams_folders=":".join(map(str, folders))))


def only_fault(folder: Path) -> str:
    found = read(folder)
    assert [len(found.faults), *found.streams] == [1]
    return str(found.faults[0])


def test_a_definition_says_what_a_stream_is_and_the_rest_follows(folder: Path) -> None:
    own = write(
        folder,
        "sales",
        """
        [stream]
        name = "sales"
        title = "Sales"
        about = "One sale a record."
        [topic]
        name = "shop.sales"
        partitions = 3
        compression = "snappy"
        key = {field = "shop", as = "utf8"}
        [event]
        id = ["sale_id", "shop"]
        time = "sold_at"
        time_as = "unix_ms"
        [checks]
        amount = {min = "10.00", max = "999.99"}
        shop = {one_of = ["a", "b"], max_length = 1}
        [report]
        version = 2
        columns = ["shop", "buyer.id"]
        [traffic]
        rate = 5
        [input]
        converter = "input:Sales"
        """,
    )

    stream = read(folder).named("sales")

    assert stream == Stream(
        name="sales",
        folder=own,
        title="Sales",
        about="One sale a record.",
        topic_name="shop.sales",
        partitions=3,
        compression="snappy",
        key=Key(KeyForm.UTF8, "shop"),
        record=RecordFormat.AVRO,
        schema_text=AVRO,
        identity=("sale_id", "shop"),
        time="sold_at",
        time_form=TimeForm.UNIX_MS,
        checks={
            "amount": Limits(min=Decimal("10.00"), max=Decimal("999.99")),
            "shop": Limits(one_of=("a", "b"), max_length=1),
        },
        report_version=2,
        report_columns=("shop", "buyer.id"),
        traffic="traffic:Traffic",
        traffic_rate=5.0,
        converter="input:Sales",
    )
    assert stream.folder == own
    assert (stream.topic, stream.table, stream.dag_id, stream.sink_part, stream.sink_group) == (
        "shop.sales",
        "sales",
        "etar_pipeline_sales",
        "sink-sales",
        "connect-sales_sink",
    )


def test_the_first_stream_keeps_every_name_that_it_had() -> None:
    stream = default_stream()

    assert (stream.topic, stream.table, stream.dag_id, stream.sink_part) == (
        "user_interactions",
        "user_interactions",
        "etar_pipeline",
        "sink",
    )
    assert (stream.connector, stream.sink_group, stream.dead_letter_topic, stream.landing_table) == (
        "user_interactions_sink",
        "connect-user_interactions_sink",
        "user_interactions_dead_letters",
        "user_interactions_landing",
    )
    assert (stream.partitions, stream.compression, stream.identity, stream.time) == (
        6,
        "lz4",
        ("event_id",),
        "event_time",
    )


WINDOWS = """
[windows]
table = "sales_live"
by = "shop"
groups = ["Berlin"]
values = [{column = "total", streamed = "job_total", report = "sales", title = "Sales", form = "decimal"}]
"""


def test_live_windows_are_of_the_table_that_a_definition_names(folder: Path) -> None:
    write(folder, "sales", SOUND + WINDOWS)
    write(folder, "other", LIKE)

    found = read(folder)
    assert found.named("sales").windows == Windows(
        "sales_live",
        "Sales live",
        "shop",
        (WindowValue("total", "job_total", "sales", "Sales", Form.DECIMAL),),
        ("Berlin",),
    )
    assert found.named("other").windows is None


@pytest.mark.parametrize("table", sorted(tables_of_the_store()))
def test_no_windows_are_in_a_table_of_etar_itself(folder: Path, table: str) -> None:
    write(folder, "sales", SOUND + WINDOWS.replace("sales_live", table))
    assert f"windows.table: the table of live windows {table!r} belongs to etar itself" in only_fault(folder)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sales_live", "x; DROP TABLE reports", "windows.table: is 'x; DROP TABLE reports'; it must be like"),
        ('"shop"', '"final"', "windows: each column has one meaning: final has another already"),
        ('"job_total"', '"total"', "windows: each column has one meaning: total has another already"),
        ('form = "decimal"', 'form = "percent"', "windows.values.0.form: is 'percent'; it must be 'number' or 'd"),
        (
            '[{column = "total", streamed = "job_total", report = "sales", title = "Sales", form = "decimal"}]',
            "[]",
            "windows: values is empty",
        ),
    ],
)
def test_windows_that_cannot_be(folder: Path, old: str, new: str, said: str) -> None:
    write(folder, "sales", SOUND + WINDOWS.replace(old, new))
    assert said in only_fault(folder)


def test_a_stream_like_another_shares_its_folder_under_a_name_and_a_topic_of_its_own(folder: Path) -> None:
    own = write(folder, "sales", SOUND)
    write(folder, "other", LIKE + '[topic]\nname = "second.shop"', schema=None)

    other = read(folder).named("other")

    assert other == replace(
        read(folder).named("sales"), name="other", title="Other", like="sales", topic_name="second.shop"
    )
    assert (other.folder, other.table, other.topic) == (own, "other", "second.shop")


def test_the_tables_of_a_stream_like_another_are_its_own(folder: Path) -> None:
    own = write(folder, "sales", SOUND)
    write(folder, "other", LIKE, schema=None)
    (own / "sql" / "0001_table.sql").write_text(
        "CREATE TABLE sales (presales Int8, sales_total Int8);\nCREATE TABLE sales_landing (x Int8);\n"
        "CREATE VIEW sales_landed TO sales AS SELECT 'sales of sales_landings'"
    )

    [migration] = stream_migrations(read(folder).named("other"))

    assert migration.name == "other/0001_table.sql"
    assert migration.sql == (
        "CREATE TABLE other (presales Int8, sales_total Int8);\nCREATE TABLE other_landing (x Int8);\n"
        "CREATE VIEW other_landed TO other AS SELECT 'other of sales_landings'"
    )


def test_a_file_that_was_applied_under_its_name_without_a_folder_is_not_applied_again() -> None:
    before = Migration("0001_user_interactions.sql", "CREATE TABLE a")
    now, new = Migration("user_interactions/0001_table.sql", "CREATE TABLE a"), Migration("other/0001_table.sql", "b")

    assert list(pending([now, new], {before.name: before.checksum})) == [new]
    # Only what stood among the shared files had another name.
    assert list(pending([Migration("0009_again.sql", before.sql)], {before.name: before.checksum})) != []
    assert list(pending([now], {"other/0001_table.sql": now.checksum})) == [now]


def test_the_files_of_the_first_stream_are_those_that_were_applied_before_it_was_a_folder() -> None:
    # As released: a stack with data must not get them again. Never change these; a change is a new file.
    assert {each.name: each.checksum[:12] for each in stream_migrations(default_stream())} == CHECKSUMS


CHECKSUMS = {
    "user_interactions/0001_table.sql": "debcdb0684dc",
    "user_interactions/0002_retention.sql": "dfba24ff8694",
    "user_interactions/0003_connect_landing.sql": "bc412cd5f20c",
    "user_interactions/0004_codecs.sql": "21dd5a54f475",
}


def test_streams_are_on_that_start_by_themselves_or_are_named(folder: Path) -> None:
    write(folder, "sales", SOUND)
    write(folder, "other", LIKE, schema=None)
    write(folder, "eager", SOUND.replace('"sales"', '"eager"\nautostart = true'))

    def on(streams: str) -> list[str]:
        return [stream.name for stream in read(folder, streams=streams).on]

    assert on("") == ["eager"]
    assert on("sales, other") == ["sales", "other"]
    assert on("other sales other") == ["other", "sales"]
    assert on("all") == ["eager", "other", "sales"]
    assert read(folder, streams="sales nothing").unknown == ("nothing",)
    assert on("sales nothing") == ["sales"]


def test_a_faulty_folder_costs_its_own_stream_only_and_says_so_when_it_is_asked_for(folder: Path) -> None:
    write(folder, "sales", SOUND)
    write(folder, "broken", "[stream\n")

    found = read(folder, streams="sales broken")

    assert [stream.name for stream in found.on] == ["sales"]
    assert found.unknown == ()
    with pytest.raises(StreamFaultError, match=r"broken/stream\.toml, line 1.*is not TOML"):
        found.named("broken")
    with pytest.raises(UnknownStreamError, match=r"no stream 'nothing' .*\(there are: sales\)"):
        found.named("nothing")


@pytest.mark.parametrize(
    ("streams", "left_out"),
    [
        ("", ["broken", "worse"]),  # nobody knows whether they start by themselves
        ("all", ["broken", "worse"]),
        ("sales broken", ["broken"]),
        ("sales", []),
        ("nothing worse sales", ["worse", "nothing"]),
    ],
)
def test_what_may_be_switched_on_and_does_not_run_says_why(folder: Path, streams: str, left_out: list[str]) -> None:
    write(folder, "sales", SOUND)
    write(folder, "broken", "[stream\n")
    write(folder, "worse", SOUND.replace('"sales"', '"worse"') + "[topic]\npartitions = 0\nbad = 1\n")

    found = read(folder, folder / "nowhere", streams=streams).left_out

    assert list(found) == left_out
    says = {"broken": "is not TOML", "worse": "topic.bad: is not a key", "nothing": "there is no stream 'nothing'"}
    for name, why in found.items():
        assert says[name] in why
        assert len(why.splitlines()) == (2 if name == "worse" else 1), "each of its faults is a line"


def test_a_second_folder_of_a_name_does_not_leave_out_the_first(folder: Path, tmp_path: Path) -> None:
    write(folder, "sales", SOUND)
    write(tmp_path / "more", "sales", SOUND)
    assert read(folder, tmp_path / "more", streams="all").left_out == {}


def test_a_new_folder_and_a_changed_file_are_seen_without_a_restart(folder: Path) -> None:
    own = write(folder, "sales", SOUND)
    assert list(read(folder).streams) == ["sales"]

    write(folder, "other", LIKE, schema=None)
    (own / "stream.toml").write_text(SOUND + '[topic]\nname = "elsewhere"')

    assert [stream.topic for stream in read(folder).streams.values()] == ["other", "elsewhere"]


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("", "stream.toml, stream: is missing; write the section [stream]"),
        (
            SOUND + "[topics]\n",
            "topics: is not a key; there are checks, event, input, jobs, record, report, stream, topic, traffic",
        ),
        (SOUND + '[topic]\nnames = "x"', "topic.names: is not a key; [topic] has compression, key, name, partitions"),
        (SOUND + '[topic]\nkey = {field = "shop"}', "topic.key.as: is missing; write it under [topic]"),
        (
            SOUND + '[topic]\nkey = {as = "utf8"}',
            'topic.key: a key has a field and a form, or is {as = "none"}; mend it',
        ),
        (SOUND + "[topic]\npartitions = 0", "topic.partitions: is 0; it must be greater than or equal to 1"),
        (SOUND + '[topic]\nname = "a b"', "topic.name: is 'a b'; it must be like [A-Za-z0-9._-]{1,200}"),
        (SOUND + '[record]\nformat = "xml"', "record.format: is 'xml'; it must be 'avro', 'json' or 'json-registered'"),
        (SOUND + "[checks]\namount = {min = 10.5}", "checks.amount: a limit with a fraction is written as a text"),
        (SOUND + "[checks]\namount = {min = 3, max = 2}", "checks.amount: no value is at least 3 and at most 2"),
        (SOUND + "[checks]\namount = {}", "checks.amount: says nothing"),
        (
            SOUND + '[checks]\nsum = {min = "1"}',
            "checks.sum: names 'sum', which schema.avsc does not have (it has sale_id, shop,",
        ),
        (SOUND.replace('"sold_at"', '"sold"'), "event.time: names 'sold', which schema.avsc does not have"),
        (SOUND.replace('["sale_id"]', '["id"]'), "event.id: names 'id', which schema.avsc does not have"),
        (SOUND + '[report]\nmodel = "report.Report"', "report.model: is 'report.Report'; it must be like"),
        (
            SOUND.replace('"sales"', '"shop_sales"'),
            "stream.name: is 'shop_sales' in a folder named 'sales'; give both the same name",
        ),
        (SOUND.replace('"sales"', '"Sales"'), "stream.name: is 'Sales'; it must be like [a-z][a-z0-9_]{1,40}"),
        (
            SOUND.replace('"sales"', '"sales"\nlike = "user_interactions"'),
            "event: is not a key; there are stream, topic in a stream that is like another",
        ),
        (SOUND + "[stream]\n", "is not TOML: Cannot declare ('stream',) twice"),
    ],
)
def test_a_faulty_definition_is_told_with_file_key_and_what_is_allowed(
    folder: Path, definition: str, said: str
) -> None:
    write(folder, "sales", definition)

    found = read(folder)

    assert not found.streams
    told = "\n".join(map(str, found.faults))
    assert said in told
    assert str(folder / "sales" / "stream.toml") in told


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "schema.avsc: cannot be read: No such file or directory; write the schema"),
        ("{", "schema.avsc: is not JSON: "),
        ("[" * 100_000, "schema.avsc: is n"),
        ('"string"', "schema.avsc: is not the schema of a record; it must be an Avro record"),
        ('{"type": "enum", "name": "E", "symbols": []}', "is not the schema of a record"),
    ],
)
def test_a_faulty_schema_is_told(folder: Path, schema: str | None, said: str) -> None:
    write(folder, "sales", SOUND, schema=schema)

    assert said in only_fault(folder)


def test_the_schema_of_plain_json_is_a_json_schema(folder: Path) -> None:
    definition = SOUND + '[record]\nformat = "json"'
    write(folder, "sales", definition, schema='{"type": "object"}', file="schema.json")
    assert "must be a JSON Schema of an object" in only_fault(folder)

    schema = '{"type": "object", "properties": {"sale_id": {}, "sold_at": {}}}'
    write(folder, "sales", definition, schema=schema, file="schema.json")
    stream = read(folder).named("sales")
    assert (stream.record, stream.schema_text) == (RecordFormat.JSON, schema)


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("nothing", "stream.like: there is no stream 'nothing'; name one of sales"),
        ("third", "stream.like: 'third' is itself like another stream; name that one"),
        ("broken", "stream.like: the stream 'broken' has faults of its own; mend those"),
    ],
)
def test_a_stream_is_like_a_sound_stream_with_a_folder_of_its_own(folder: Path, like: str, said: str) -> None:
    write(folder, "sales", SOUND)
    write(folder, "third", LIKE.replace('"other"', '"third"'), schema=None)
    write(folder, "broken", "[stream]\nname = 3")
    write(folder, "other", LIKE.replace('"sales"', f'"{like}"'), schema=None)

    assert any(said in str(fault) for fault in read(folder).faults)
    assert "other" not in read(folder).streams


@pytest.mark.parametrize(
    ("name", "topic", "said"),
    [
        (
            "sales_landing",
            "x",
            "stream.name: the table 'sales_landing' belongs to the stream 'sales'; choose another name",
        ),
        ("zsales", "sales", "topic.name: the topic 'sales' belongs to the stream 'sales'"),
        ("zsales", "sales_dead_letters", "topic.name: the topic 'sales_dead_letters' belongs to the stream 'sales'"),
        ("dead_letters", "x", "stream.name: the table 'dead_letters' belongs to all streams"),
        ("zsales", "_schemas", "topic.name: the topic '_schemas' belongs to etar or Kafka itself"),
    ],
)
def test_two_streams_never_share_a_place(folder: Path, name: str, topic: str, said: str) -> None:
    write(folder, "sales", SOUND)
    write(folder, name, SOUND.replace('"sales"', f'"{name}"') + f'[topic]\nname = "{topic}"')

    found = read(folder)

    assert said in "\n".join(map(str, found.faults))
    assert list(found.streams) == ["sales"]


JOB = """
[[jobs]]
name = "{}"
kind = "spark-streaming"
app = "spark_apps/sums.py"
"""


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (["sums"], ["sums"], "the part 'sums' belongs to the stream 'sales'"),
        (["sums", "sums"], [], "two jobs have one name"),
        (["postgres"], [], "the part 'postgres' belongs to the stack"),
        (["sink-of-all"], [], "the part 'sink-of-all' belongs to the stack"),
    ],
)
def test_a_jobs_name_is_a_parts_and_nobody_elses(folder: Path, first: list[str], second: list[str], said: str) -> None:
    write(folder, "sales", SOUND + "".join(map(JOB.format, first)))
    write(folder, "shops", SOUND.replace("sales", "shops") + "".join(map(JOB.format, second)))

    (fault,) = read(folder).faults
    assert said in str(fault)
    assert fault.stream == ("shops" if second else "sales")


def test_a_jobs_program_is_its_folders_or_the_repositorys(folder: Path, tmp_path: Path) -> None:
    write(folder, "sales", SOUND + JOB.format("sums"))
    stream = read(folder).named("sales")
    (job,) = stream.jobs
    assert stream.job_app(job, tmp_path) == tmp_path / "spark_apps" / "sums.py"

    own = folder / "sales" / "spark_apps" / "sums.py"
    own.parent.mkdir()
    own.write_text("")
    assert stream.job_app(job, tmp_path) == own
    assert stream.checkpoints_key(job) == "checkpoints/sales/sums"


def test_what_jobs_write_to_is_made_of_files_of_the_folder_and_of_none_like_it(folder: Path) -> None:
    write(folder, "sales", SOUND)
    write(folder, "other", LIKE, schema=None)
    assert stream_postgres_migrations(read(folder).named("sales")) == []

    (folder / "sales" / "postgres").mkdir()
    (folder / "sales" / "postgres" / "0001_sums.sql").write_text("CREATE TABLE sums ();")
    assert stream_postgres_migrations(read(folder).named("sales")) == [
        Migration("sales/postgres/0001_sums.sql", "CREATE TABLE sums ();")
    ]
    assert stream_postgres_migrations(read(folder).named("other")) == []


def test_of_two_folders_with_one_name_the_later_one_has_the_fault(folder: Path, tmp_path: Path) -> None:
    first = write(folder, "sales", SOUND)
    write(tmp_path / "more", "sales", SOUND)

    found = read(folder, tmp_path / "more")

    assert [str(fault) for fault in found.faults] == [
        f"{tmp_path}/more/sales/stream.toml, stream.name: the stream 'sales' is defined in {first} already; "
        "rename one of the two folders"
    ]
    assert found.named("sales").folder == first


def test_folders_that_are_not_there_are_told_and_a_relative_one_is_etars_own(tmp_path: Path) -> None:
    found = read(tmp_path / "nowhere")
    assert "is no folder; make it, or take it out of ETAR_STREAMS_FOLDERS" in str(found.faults[0])
    assert read(Path("streams")).named(DEFAULT_STREAM) == default_stream()
