"""`kefulake api-sync` as a person meets it: what is configured, one at a time, plain words."""

import os
import re
from dataclasses import replace

import orjson
import pytest
from typer.testing import CliRunner

from infra.stack.settings import Settings
from jobs.cli import build
from jobs.ops import api_sync
from pipelines.privacy.keys import MasterKey
from pipelines.simulation.api_http import serving
from tests.bench.connector_world import MemoryLog
from tests.bench.connectors_whole_way import declared_api, variables


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in list(os.environ):
        if name.startswith(("KEFULAKE_CONNECTOR_", "KEFULAKE_REGION", "KEFULAKE_PORT_BASE")):
            monkeypatch.delenv(name)
    return tmp_path / "home"


def call(*arguments):
    return CliRunner().invoke(build(["api-sync"]), ["api-sync", *arguments])


def test_sources_nobody_has_configured_are_left_out(home):
    done = call()
    assert done.exit_code == 0
    assert done.output.count("not configured") >= 5


def test_one_that_is_asked_for_by_name_must_be_configured(home):
    done = call("--resource", "orders")
    assert done.exit_code == 1
    assert "source orders has no base_url, key" in done.output
    assert "chmod" not in done.output


def test_a_file_that_others_may_read_is_refused_and_shows_nothing(home):
    file = home / "keys" / "connectors.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("orders: {base_url: 'https://oms.example.com', key: t0p-s3cret}\n")
    file.chmod(0o644)
    done = call()
    assert done.exit_code == 1
    assert "chmod 600" in done.output
    assert "t0p-s3cret" not in done.output


def test_without_a_broker_it_says_so_and_the_exit_code_too(home, monkeypatch):
    monkeypatch.setenv("KEFULAKE_CONNECTOR_ORDERS_BASE_URL", "https://oms.example.com")
    monkeypatch.setenv("KEFULAKE_CONNECTOR_ORDERS_KEY", "k")
    monkeypatch.setenv("KEFULAKE_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr("pipelines.io.connector_log.TIMEOUT_S", 0.2)
    done = call()
    assert done.exit_code == 1
    assert "No broker answers at 127.0.0.1:1" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--resource", "invoices"), "no resource invoices"), (("--since", "some day"), "is not a time")],
)
def test_what_cannot_be_is_refused(home, arguments, said):
    done = call(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_two_at_once_exclude_each_other(home):
    refused = pytest.raises(api_sync.AlreadyRunning, match=f"process {os.getpid()}")
    with api_sync.alone(Settings.load()), refused, api_sync.alone(Settings.load()):
        pass
    with api_sync.alone(Settings.load()):
        pass


@pytest.fixture
def logs(monkeypatch):
    """Raw topics in memory, one a topic."""
    made = {}
    monkeypatch.setattr(api_sync, "ConnectorLog", lambda servers, topic, bronze: made.setdefault(topic, MemoryLog()))
    return made


def test_all_declared_resources_come_once_whatever_is_asked_for(home, logs, monkeypatch):
    MasterKey.create(Settings.load().keys_file)
    api = declared_api(seed=5, rows=30, share=0.0)
    api.schedule = replace(api.schedule, churn=0.0)
    with serving(api) as address:
        for name, value in variables(address).items():
            monkeypatch.setenv(name, value)
        api.populations["crm_customers"].change(40)
        first = call()
        assert first.exit_code == 0, first.output
        came = sum(len(log.records) for log in logs.values())
        held = sum(len(population.rows) for population in api.populations.values())
        assert came == held
        assert "secret" not in first.output
        for arguments in ((), ("--since", "2026-01-01"), ("--full",), ("--resource", "orders")):
            assert call(*arguments).exit_code == 0
        vanished = api.populations["crm_customers"].vanished
        assert sum(len(log.records) for log in logs.values()) == came  # none was sent before it vanished
        gone = next(iter(api.populations["crm_customers"].rows))
        api.populations["crm_customers"].vanished[gone] = api.populations["crm_customers"].rows.pop(gone).value
        assert call("--full").exit_code == 0
        assert sum(len(log.records) for log in logs.values()) == came + 1
        assert orjson.loads(logs["raw.crm"].records[-1].value)["status"] == "deleted"
        assert vanished


def test_a_resource_that_fails_stops_no_other(home, logs, monkeypatch):
    MasterKey.create(Settings.load().keys_file)
    api = declared_api(seed=6, rows=10, share=0.0)
    with serving(api) as address:
        for name, value in variables(address).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KEFULAKE_CONNECTOR_ORDERS_KEY", "wr0ng-key")
        done = call()
    assert done.exit_code == 1
    assert "orders: source orders refuses our credentials (401 at /orders)" in done.output
    assert "wr0ng-key" not in done.output
    assert set(logs) == {"raw.crm", "raw.ticket_system", "raw.app", "raw.orders"}
    assert [topic for topic, log in logs.items() if not log.records] == ["raw.orders"]


def test_a_resource_that_breaks_in_a_way_nobody_foresaw_stops_no_other_and_shows_no_secret(home, logs, monkeypatch):
    MasterKey.create(Settings.load().keys_file)
    api = declared_api(seed=7, rows=10, share=0.0)

    class Full(MemoryLog):
        def send(self, *_args, **_kwargs):
            raise MemoryError("Authorization: Bearer t0p-s3cret")

    logs["raw.crm"] = Full()
    with serving(api) as address:
        for name, value in variables(address).items():
            monkeypatch.setenv(name, value)
        done = call()
    assert done.exit_code == 1
    assert re.search(r"MemoryError at test_api_sync\.py:\d+", done.output)
    assert "s3cret" not in done.output
    assert [topic for topic, log in logs.items() if not log.records] == ["raw.crm"]
