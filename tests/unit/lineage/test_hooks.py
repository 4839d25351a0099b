"""Where jobs, services and commands tell of their runs: once at the start, once at the end, whatever the end is."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
import typer

from pipelines import contracts
from pipelines.lineage import hooks
from pipelines.lineage.runs import lineage_run
from tests.unit.lineage.conftest import told


def test_a_service_tells_at_its_start_now_and_then_and_at_its_end(settings, broken):
    now = [0.0]
    runs = hooks.ServiceRuns(settings, "tiering", ["silver.feedback", "bronze.raw_events"], clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 3599.0, 3600.0, 3601.0):
        runs.tell_when_due()
    runs.end(well=True)
    events = told(settings)
    assert [(e["job"]["name"], e["eventType"]) for e in events] == [
        (f"tiering/{table}", state)
        for state in ("START", "RUNNING", "COMPLETE")
        for table in ("silver.feedback", "bronze.raw_events")
    ]
    assert [broken(e) for e in events] == [[]] * 6
    assert [d["name"] for d in events[0]["inputs"]] == ["feedback.clean"]
    text = events[0]["outputs"][0]["facets"]["columnLineage"]["fields"]["text"]["inputFields"]
    assert [(f["name"], f["field"]) for f in text] == [("feedback.clean", "text")]


def test_the_flink_job_is_a_run_with_flinks_own_id(settings, broken):
    job_id = "a" * 32
    hooks.flink_started(settings, "clean_interactions", job_id)
    hooks.flink_stopped(settings, "clean_interactions", job_id)
    start, end = told(settings)
    assert (start["run"]["runId"], end["run"]["runId"]) == (str(UUID(job_id)),) * 2
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert broken(start) == []
    assert start["job"]["facets"]["jobType"]["integration"] == "FLINK"
    raw = {name for name, topic in contracts.topics().items() if topic.format == "raw"}
    assert {d["name"] for d in start["inputs"]} == raw | {"identity.map", "policy.baselines", "restore.seen"}
    assert {d["namespace"] for d in start["inputs"]} == {"kafka://127.0.0.1:20000"}
    assert "interactions.clean" in {d["name"] for d in start["outputs"]}


def test_flink_kafka_delta_gold_is_one_chain(settings):
    """Each job's output is the next one's input, by namespace and name: what a receiver joins them by."""
    hooks.flink_started(settings, "clean_interactions", "b" * 32)
    hooks.ServiceRuns(settings, "tiering", ["silver.interactions"]).tell_when_due()
    with lineage_run("customer_360", ["silver.interactions"], ["gold.customer_360"], settings=settings):
        pass
    with lineage_run("serving", ["gold.customer_360"], ["serving.customer_360"], settings=settings):
        pass
    at = {e["job"]["name"]: e for e in told(settings) if e["eventType"] == "START"}
    chain = [at[name] for name in ("clean_interactions", "tiering/silver.interactions", "customer_360", "serving")]
    places = [
        ({(d["namespace"], d["name"]) for d in e["inputs"]}, {(d["namespace"], d["name"]) for d in e["outputs"]})
        for e in chain
    ]
    for (_, written), (read, _) in pairwise(places):
        assert written & read


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (None, "COMPLETE"),
        (typer.Exit(0), "COMPLETE"),
        (typer.Exit(3), "FAIL"),  # a refused file
        (RuntimeError("no broker at 10.0.0.7, said 13812345670"), "FAIL"),
        (KeyboardInterrupt(), "FAIL"),
    ],
)
def test_a_command_is_a_run_with_what_its_contracts_say(settings, broken, monkeypatch, ends, state):
    monkeypatch.setenv("KEFULAKE_HOME", str(settings.home))

    @hooks.told_as_run("store_import")
    def command(inbox: str) -> str:
        """Import."""
        if ends is not None:
            raise ends
        return inbox

    if ends is None:
        assert command("/inbox") == "/inbox"
    else:
        with pytest.raises(type(ends)):
            command(inbox="/inbox")
    first, last = told(settings)
    assert [first["eventType"], last["eventType"]] == ["START", state]
    assert first["run"]["runId"] == last["run"]["runId"]
    assert {one["name"].rpartition("/")[2] for one in last["outputs"]} >= {"raw.store", "store_files"}
    assert "13812345670" not in str(last)
    assert (broken(first), broken(last)) == ([], [])
    assert command.__doc__ == "Import."
