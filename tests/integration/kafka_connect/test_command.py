"""``etar connect`` as a person types it, against a real worker."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from connect.watch import Watch
from connect.worker import Worker
from etar.settings import get_settings
from stack.waiting import wait_until
from tests.integration.kafka_connect.conftest import SECRET_FILE, Etar, Flow, Workers
from tests.integration.kafka_connect.test_records import good

# Above all that the first test waits for: the parts, the worker, a connector several times over.
pytestmark = pytest.mark.timeout(1200)


def test_create_compare_update_and_see(flow: Flow, etar: Etar, worker: Worker) -> None:
    file = flow.file()
    would = etar("apply", file, "--dry-run")
    assert would.exit_code == 0, would.output
    assert f"+ topics: {flow.topic}" in would.stdout
    assert worker.config(flow.name) is None
    assert etar("diff", file).exit_code == 2
    assert etar("status", flow.name).exit_code == 1

    no = etar("apply", file, input_="n\n")
    assert no.exit_code == 1
    assert worker.config(flow.name) is None

    created = etar("apply", file, input_="y\n")
    assert created.exit_code == 0, created.output
    assert f"Change {flow.name}?" in created.stdout
    assert "task 0  RUNNING" in created.stdout
    same = etar("diff", file)
    assert (same.exit_code, same.stdout) == (0, f"{flow.name}: as its file says\n")
    assert "differences" not in etar("apply", file).stdout

    changed = flow.file(**{"consumer.override.max.poll.records": "500"})
    assert etar("diff", changed).stdout.splitlines() == [
        f"{flow.name}: 1 differences",
        "- consumer.override.max.poll.records: 2000",
        "+ consumer.override.max.poll.records: 500",
    ]
    assert etar("apply", changed, "--yes").exit_code == 0
    assert (worker.config(flow.name) or {})["consumer.override.max.poll.records"] == "500"

    assert etar("status").exit_code == 0
    (seen,) = json.loads(etar("status", flow.name, "--json").stdout)
    assert seen["running"]
    assert [task["state"] for task in seen["tasks"]] == ["RUNNING"]
    assert etar("restart", flow.name, "--everything").exit_code == 0

    flow.produce([good(flow, 0)])
    flow.settle()
    assert [row["_offset"] for row in flow.written()] == ["0"]


def test_a_secret_is_resolved_by_the_worker_and_told_by_nobody(flow: Flow, etar: Etar, workers: Workers) -> None:
    """The name of the output's file is the secret: where the records are is what it stands for."""
    secret = str(flow.output)
    told = [
        etar(*words).output for words in (("apply", flow.file(), "--yes"), ("diff", flow.file()), ("status", "--json"))
    ]
    flow.produce([good(flow, 0)])
    flow.settle()
    assert [row["_offset"] for row in flow.written()] == ["0"]

    told += [
        httpx.get(f"{workers.url}/connectors/{flow.name}{path}").text for path in ("", "/config", "/status", "/tasks")
    ]
    assert f"{SECRET_FILE}_{flow.topic}" in told[0]
    assert not [text for text in told if secret in text]
    assert secret not in workers.log.read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"connector.class": "org.example.Absent"}, "org.example.Absent"),
        ({"tasks.max": "many"}, "tasks.max: Invalid value many"),
        ({"value.converter": "org.example.Absent"}, "value.converter: "),
        ({"transforms.required.fields": " , "}, "fields"),
        ({"errors.tolerance": "some"}, "errors.tolerance: Invalid value some"),
    ],
)
def test_a_configuration_that_is_refused_ends_with_the_workers_own_words(
    flow: Flow, etar: Etar, worker: Worker, changes: dict[str, str], said: str
) -> None:
    refused = etar("apply", flow.file(**changes), "--yes")
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert worker.config(flow.name) is None
    assert etar("apply", flow.file(**changes), "--dry-run").exit_code == 1


def test_a_refusal_does_not_tell_what_a_reference_stands_for(flow: Flow, etar: Etar) -> None:
    reference = f"${{directory:{{{{ETAR_CONNECT_SECRETS_FOLDER}}}}:{SECRET_FILE}_{flow.topic}}}"
    refused = etar("apply", flow.file(**{"errors.tolerance": reference}), "--yes")
    assert refused.exit_code == 1
    assert "errors.tolerance: Invalid value ${directory:" in refused.stderr
    assert str(flow.output) not in refused.output


def test_a_failed_task_is_shown_with_its_message_and_started_again(flow: Flow, etar: Etar, tmp_path: Path) -> None:
    """Its folder is missing at first."""
    folder = tmp_path / "later"
    file = flow.file(file=str(folder / "records.txt"))
    failed = etar("apply", file, "--yes")
    assert failed.exit_code == 1
    assert f"task 0 of {flow.name}: " in failed.stderr
    assert "NoSuchFileException" in failed.stderr
    seen = etar("status", flow.name)
    assert seen.exit_code == 1
    assert "task 0  FAILED" in seen.stdout
    assert "NoSuchFileException" in seen.stdout
    assert etar("restart", flow.name).exit_code == 1

    folder.mkdir()
    again = etar("restart", flow.name)
    assert again.exit_code == 0, again.output
    assert "task 0  RUNNING" in again.stdout


def test_a_task_that_failed_for_want_of_something_is_started_again_by_the_watch(
    flow: Flow, etar: Etar, worker: Worker, tmp_path: Path
) -> None:
    """As the official sink's, which fails for good if the warehouse is away while it starts."""
    folder = tmp_path / "later"
    assert etar("apply", flow.file(file=str(folder / "records.txt")), "--yes").exit_code == 1
    folder.mkdir()
    Watch(worker).look()
    wait_until(lambda: runs(worker, flow), timeout=60, what="its task to run", interval=0.2)


def runs(worker: Worker, flow: Flow) -> bool:
    status = worker.status(flow.name)
    return status is not None and status.running


def test_applying_the_same_again_starts_what_failed(flow: Flow, etar: Etar, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    file = flow.file(file=str(folder / "records.txt"))
    assert etar("apply", file, "--yes").exit_code == 1
    folder.mkdir()
    assert etar("apply", file, "--yes").exit_code == 0


def test_applying_the_same_again_lets_run_what_a_killed_command_left_stopped(
    flow: Flow, etar: Etar, worker: Worker
) -> None:
    assert etar("apply", flow.file(), "--yes").exit_code == 0
    worker.stop(flow.name)
    assert etar("status", flow.name).exit_code == 1
    again = etar("apply", flow.file(), "--yes")
    assert again.exit_code == 0, again.output
    assert "task 0  RUNNING" in again.stdout


def test_a_connector_that_nobody_knows(etar: Etar) -> None:
    for words in (("restart", "absent"), ("status", "absent")):
        unknown = etar(*words)
        assert unknown.exit_code == 1
        assert "no connector 'absent'" in unknown.stderr


def test_no_worker_is_waited_for_and_named(etar: Etar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_CONNECT_URL", "http://127.0.0.1:9")
    get_settings.cache_clear()
    alone = etar("apply", "--yes", "--wait", "1")
    assert alone.exit_code == 1
    assert "no Kafka Connect worker answers at http://127.0.0.1:9" in alone.stderr
    assert "waited 1 s" in alone.stderr
