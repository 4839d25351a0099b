"""What a run tells is OpenLineage by its official schema, and telling it costs no job more than the policy says."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from openlineage.client.serde import Serde

from infra.stack import ports
from pipelines import contracts
from pipelines.lineage import receivers
from pipelines.lineage.runs import lineage_run, new_run
from tests.unit.lineage.conftest import AIRFLOW, told

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def as_dict(run, state: str, environment=None, error=None) -> dict:
    return json.loads(Serde.to_json(run.event(state, AT, environment or {}, error)))


@pytest.mark.parametrize("state", ["START", "RUNNING", "COMPLETE", "FAIL"])
def test_an_event_is_valid_by_the_official_schema(settings, broken, state):
    run = new_run("customer_360", settings=settings)
    run.reads("silver.interactions", 7)
    run.reads("/inbox/0123.csv")
    run.writes("gold.customer_360", 3, 12)
    run.writes("silver.feedback")  # has columns that are its topic's, so column lineage goes along
    event = as_dict(run, state, AIRFLOW, ValueError("13812345670") if state == "FAIL" else None)
    assert broken(event) == []
    assert event["eventType"] == state


def test_the_schemas_refuse_what_is_wrong(settings, broken):
    event = as_dict(new_run("customer_360", outputs=["gold.customer_360"], settings=settings), "START")
    assert broken(event) == []
    assert broken(event | {"job": {"name": "no namespace"}})
    assert broken(event | {"eventTime": "yesterday"})
    event["outputs"][0]["facets"]["schema"]["fields"][0] = {"type": "string"}  # a column without a name
    assert broken(event)


def test_what_an_event_says(settings):
    run = new_run("customer_360", settings=settings)
    run.reads("silver.interactions", 7)
    run.writes("gold.customer_360", 3, 12)
    event = as_dict(run, "COMPLETE", AIRFLOW)
    assert (event["job"]["namespace"], event["job"]["name"]) == ("kefulake", "customer_360")
    (source,), (target,) = event["inputs"], event["outputs"]
    assert (source["namespace"], source["name"]) == ("file", str(settings.home / "lake/silver/interactions"))
    assert source["facets"]["version"]["datasetVersion"] == "7"
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 12
    assert [f["name"] for f in target["facets"]["schema"]["fields"]] == [
        f.name for f in contracts.table("gold.customer_360").fields
    ]
    parent = event["run"]["facets"]["parent"]
    assert (parent["job"]["name"], parent["root"]["job"]["name"]) == ("customer_360.build", "customer_360")
    again = as_dict(new_run("customer_tags", settings=settings), "START", AIRFLOW)["run"]["facets"]["parent"]
    assert again["run"] == parent["run"]  # two jobs of one task have one parent
    retried = as_dict(run, "START", AIRFLOW | {"AIRFLOW_CTX_TRY_NUMBER": "2"})["run"]["facets"]["parent"]
    assert (retried["run"] != parent["run"], retried["root"] == parent["root"]) == (True, True)


@pytest.mark.parametrize(
    ("told", "parent"),
    [
        ("prod/backup.full/01890a5d-ac96-774b-bcce-b302099a8057", ("prod", "backup.full")),
        ("https://airflow/x/backup.full/01890a5d-ac96-774b-bcce-b302099a8057", ("https://airflow/x", "backup.full")),
        ("prod/backup.full/not-a-uuid", ("airflow", "customer_360.build")),  # said in the log; Airflow's own stands
        ("rubbish", ("airflow", "customer_360.build")),
    ],
)
def test_a_parent_that_was_told_comes_before_airflows(settings, told, parent):
    event = as_dict(new_run("backup", settings=settings), "START", AIRFLOW | {"OPENLINEAGE_PARENT_ID": told})
    job = event["run"]["facets"]["parent"]["job"]
    assert (job["namespace"], job["name"]) == parent


def test_a_run_that_fails_says_so_without_quoting_anybody(settings):
    with pytest.raises(ValueError, match="13812345670"), lineage_run("store_import", settings=settings):
        raise ValueError("phone 13812345670 is in row 3")
    assert [e["eventType"] for e in told(settings)] == ["START", "FAIL"]
    assert len({e["run"]["runId"] for e in told(settings)}) == 1
    assert "13812345670" not in receivers.events_file(settings).read_text()
    assert told(settings)[1]["run"]["facets"]["errorMessage"]["message"].startswith("ValueError; the log of job store")


def test_an_address_with_a_secret_is_told_without_it(settings):
    run = new_run("api_sync", ["https://user:pass@crm.example:8443/api?token=s3cret"], settings=settings)
    assert [(d["namespace"], d["name"]) for d in as_dict(run, "START")["inputs"]] == [
        ("https://crm.example:8443", "/api")
    ]


def test_a_name_that_nothing_declares_is_a_mistake_of_the_caller(settings):
    with pytest.raises(ValueError, match=r"silver\.interaction' is declared"):
        new_run("x", ["silver.interaction"], settings=settings)


class Receiver(BaseHTTPRequestHandler):
    got: list[tuple[str, str | None, dict]] = []  # noqa: RUF012
    answer = 201

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, self.headers.get("Authorization"), body))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def receiver(monkeypatch):
    Receiver.got, Receiver.answer = [], 201
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(receivers.URL, f"http://127.0.0.1:{server.server_port}")
    yield Receiver
    server.shutdown()
    server.server_close()


def test_a_receiver_gets_the_events_and_the_file_nothing(settings, receiver, monkeypatch):
    monkeypatch.setenv(receivers.API_KEY, "k3y")
    with lineage_run("maintain", outputs=["silver.orders"], settings=settings):
        pass
    assert [(path, auth, e["eventType"]) for path, auth, e in receiver.got] == [
        ("/api/v1/lineage", "Bearer k3y", "START"),
        ("/api/v1/lineage", "Bearer k3y", "COMPLETE"),
    ]
    assert told(settings) == []


@pytest.mark.parametrize("trouble", ["away", "refuses"])
def test_a_receiver_in_trouble_is_said_once_and_the_file_takes_over(settings, receiver, monkeypatch, caplog, trouble):
    if trouble == "away":
        monkeypatch.setenv(receivers.URL, f"http://127.0.0.1:{ports.free_base(28_000)}")
    else:
        receiver.answer = 503
    with caplog.at_level(logging.WARNING), lineage_run("maintain", settings=settings):
        pass
    assert [e["eventType"] for e in told(settings)] == ["START", "COMPLETE"]
    assert len([r for r in caplog.records if "does not take events" in r.message]) == 1
    assert len(receiver.got) == (0 if trouble == "away" else 1)  # once, not at each event


def test_nothing_can_fail_the_job(settings, caplog):
    (settings.home / "lineage").write_text("a file where the folder should be")
    with lineage_run("maintain", settings=settings):
        pass
    assert "could not be told" in caplog.text


def test_it_can_be_switched_off(settings, monkeypatch):
    monkeypatch.setenv(receivers.DISABLED, "true")
    with lineage_run("maintain", settings=settings):
        pass
    assert told(settings) == []


def test_the_file_is_bounded_and_the_newest_events_are_kept(tmp_path):
    """Lines of 10 bytes, files of at most 30: three lines a file, and two files beside the one being written."""
    file, policy = tmp_path / "events.ndjson", {"max_bytes": 30, "keep_files": 2}
    for n in range(20):
        receivers.append(file, f"line {n:04}", policy)
    kept = [
        p.read_text().split("\n")[:-1]
        for p in (file.with_name("events.2.ndjson"), file.with_name("events.1.ndjson"), file)
    ]
    assert kept == [[f"line {n:04}" for n in some] for some in (range(12, 15), range(15, 18), range(18, 20))]
    assert len(list(tmp_path.glob("events*.ndjson"))) == 3


def test_many_tell_at_once_and_no_line_is_torn_or_lost(tmp_path):
    file, policy = tmp_path / "events.ndjson", {"max_bytes": 4000, "keep_files": 50}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: receivers.append(file, f"{n:04}" * 20, policy), range(400)))
    lines = [line for p in tmp_path.glob("events*.ndjson") for line in p.read_text().splitlines()]
    assert sorted(lines) == [f"{n:04}" * 20 for n in range(400)]
