"""How the front is started, how errors read, and the inner fence on canonical text."""

import pytest

from stack.chdb_http.config import read_config
from stack.chdb_http.errors import FrontError
from stack.chdb_http.policy import Policy
from stack.chdb_http.sql import take_apart

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must be refused
SECRET = {"CHDB_HTTP_PASSWORD": "s3cret"}


def test_flags_win_over_the_environment_and_secrets_stay_hidden(tmp_path):
    environ = SECRET | {"CHDB_HTTP_USER": "me", "CHDB_HTTP_MAX_BODY_BYTES": "5", "CHDB_HTTP_QUEUE_SECONDS": "1.5"}
    argv = ["--path", str(tmp_path), "--max-body-bytes", "7", "--database", "a", "--database", "b"]
    config = read_config(argv, environ)
    assert (config.user, config.limits.max_body_bytes, config.limits.queue_seconds) == ("me", 7, 1.5)
    assert config.databases == ("a", "b")
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        ([], {}, "CHDB_HTTP_PASSWORD"),
        ([], {"CHDB_HTTP_PASSWORD": ""}, "CHDB_HTTP_PASSWORD"),
        (
            [],
            SECRET | {"CHDB_HTTP_USER": "me", "CHDB_HTTP_READER": "me", "CHDB_HTTP_READER_PASSWORD": "x"},
            "CHDB_HTTP_READER",
        ),
        (["--host", EVERYWHERE], SECRET, "--allow-remote"),
        (["--host", "::"], SECRET, "--allow-remote"),
        (["--host", "no-such-host.invalid"], SECRET, "--allow-remote"),
    ],
)
def test_an_unsafe_start_is_refused(argv, environ, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        read_config(["--path", str(tmp_path), *argv], environ)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_another_address_can_be_allowed(tmp_path):
    argv = ["--path", str(tmp_path), "--host", EVERYWHERE, "--allow-remote"]
    assert read_config(argv, SECRET).host == EVERYWHERE


@pytest.mark.parametrize(
    ("raised", "code", "status", "text"),
    [
        (
            "Code: 60. DB::Exception: Table d.t does not exist. (UNKNOWN_TABLE)",
            60,
            404,
            "Code: 60. DB::Exception: Table d.t does not exist. (UNKNOWN_TABLE)",
        ),
        (
            "Streaming insert finish failed: Code: 27. DB::Exception: Bad: \n. (CANNOT_PARSE) (version 26.9)",
            27,
            400,
            "Code: 27. DB::Exception: Bad: \n. (CANNOT_PARSE) (version 26.9)",
        ),
        (
            "Code: 452. DB::Exception: Code: 452. DB::Exception: Too much. (X) (version 26.9). (X)",
            452,
            500,
            "Code: 452. DB::Exception: Too much. (X) (version 26.9). (X)",
        ),
        ("something else", 1002, 500, "Code: 1002. DB::Exception: something else (UNKNOWN_EXCEPTION)"),
    ],
)
def test_engine_errors_keep_their_code_and_text(raised, code, status, text):
    error = FrontError.of_engine(RuntimeError(raised))
    assert (error.code, error.status, str(error)) == (code, status, text)


POLICY = Policy(frozenset({"file", "url", "s3", "numbers", "Executable", "python"}))


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT * FROM file('/etc/passwd')",
        "SELECT * FROM `file`('/etc/passwd')",
        "SELECT FILE('/etc/passwd')",
        "SELECT * FROM executable('x', 'TSV', 'a Int')",
        "SELECT 1 IN (SELECT a FROM (SELECT * FROM url('http://x', 'CSV')))",
        "SELECT 1 INTO OUTFILE '/x' TRUNCATE FORMAT CSV",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "CREATE TABLE t (`a` Int) ENGINE = File(CSV)",
        "CREATE TABLE t (`a` Int) ENGINE = Executable('x', 'TSV')",
        "CREATE DATABASE d ENGINE = Filesystem('/')",
        "CREATE TABLE t (`a` Int) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'web', endpoint = 'x')",
        "SELECT 1 SETTINGS log_comment = 'x'",
        "SET max_threads = 1",
        "USE db",
        "CREATE TEMPORARY TABLE t (`a` Int)",
        "ATTACH TABLE t FROM '/etc' (`a` Int) ENGINE = MergeTree ORDER BY a",
        "BACKUP TABLE t TO File('x')",
    ],
)
def test_what_clients_may_not_do(canonical):
    with pytest.raises(FrontError) as refused:
        POLICY.check(take_apart(canonical))
    assert refused.value.code in {497, 48}


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT file, url FROM t WHERE s3 = 'INTO OUTFILE' AND x IN (1)",
        "SELECT * FROM numbers(10)",
        "SELECT 'file(1)', `file` FROM t",
        "CREATE TABLE t (`a` Int) ENGINE = ReplacingMergeTree(a) ORDER BY a TTL a + toIntervalDay(1)",
        "CREATE MATERIALIZED VIEW v TO t AS SELECT 1",
        "CREATE DATABASE IF NOT EXISTS d ENGINE = Atomic",
    ],
)
def test_what_clients_may_do(canonical):
    POLICY.check(take_apart(canonical))
