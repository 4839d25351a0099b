"""What is planted shows everywhere a person or a machine looks: metric, `kefulake balance`, `kefulake status`."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console
from typer.testing import CliRunner

from infra.stack.settings import Settings
from jobs import cli
from jobs.ops import status
from jobs.services import balance as service
from jobs.services import metrics
from pipelines import contracts
from pipelines.io.balance_table import BalanceTable
from pipelines.io.delta import Move, open_store
from pipelines.tables.data_balance import BRONZE

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
CLOSED = NINE + timedelta(hours=1, minutes=15)  # the hour's end and a quarter of an hour of grace
ALARM = contracts.policy("rejects")["alarm"]


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    return Settings.load(tmp_path, 20_000)


def put(settings: Settings, name: str, offsets: list[int], **columns) -> None:
    """Rows of raw.app, partition 0, received at nine."""
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    store = open_store(settings.table_path(name), schema, table.partition_by, name=name, description="")
    same = {"raw_topic": "raw.app", "raw_partition": 0, "received_at": NINE, "received_date": NINE.date()} | columns
    arrays = [
        pa.array(offsets, f.type) if f.name == "raw_offset" else pa.array([same.get(f.name)] * len(offsets), f.type)
        for f in schema
    ]
    before = store.positions(["c/t/0"]).get("c/t/0")
    store.append(pa.table(arrays, schema=schema), {"c/t/0": Move(before, (before or 0) + 1)})


def take_turn(settings: Settings, passed_until: datetime | None) -> None:
    BalanceTable(settings, grace=timedelta(minutes=15)).turn(passed_until)


def scrape(settings: Settings) -> list[str]:
    """Lines of the tables' metrics, as Prometheus would read them."""
    registry = CollectorRegistry()
    registry.register(metrics.Found({"tables": list(metrics.table_samples(settings))}))
    return generate_latest(registry).decode().splitlines()


def balance_command() -> tuple[int, str]:
    done = CliRunner().invoke(cli.build(["balance"]), ["balance"])
    return done.exit_code, done.stderr


def printed(show, settings: Settings) -> tuple[object, str]:
    console = Console(file=io.StringIO(), width=200)
    return show(settings, console), console.file.getvalue()


def test_a_balance_that_closes_is_quiet(settings):
    put(settings, BRONZE, [0, 1])
    put(settings, "silver.interactions", [0])
    put(settings, "quarantine.rejects", [1])
    take_turn(settings, CLOSED)
    assert "kefulake_balance_closes 1.0" in scrape(settings)
    assert balance_command() == (0, "")
    well, text = printed(status.print_balance, settings)
    assert well is True
    assert "balance of 1 closed hour closes: received 2, kept 1, rejected 1" in text


@pytest.mark.parametrize(
    ("kept", "rejected", "missing", "twice"),
    [
        ([0, 1], [1], 1, 1),  # three stand in outputs as three came in: the sums agree, 1 stands twice and 2 nowhere
        ([0, 1], [], 1, 0),
        ([0, 1, 2], [2], 0, 1),
    ],
)
def test_a_missing_and_a_doubled_coordinate_ring(settings, kept, rejected, missing, twice):
    put(settings, BRONZE, [0, 1, 2])
    put(settings, "silver.interactions", kept)
    put(settings, "quarantine.rejects", rejected)
    take_turn(settings, CLOSED)
    told = scrape(settings)
    assert "kefulake_balance_closes 0.0" in told
    assert f'kefulake_balance_rows{{stands_in="missing"}} {missing}.0' in told
    assert f'kefulake_balance_rows{{stands_in="twice"}} {twice}.0' in told
    code, why = balance_command()
    assert code == 1
    found = ", ".join(f"{n} {what}" for n, what in ((missing, "missing"), (twice, "twice")) if n)
    assert why == f"raw.app, hour 2026-01-05 09:00 UTC does not balance: {found}\n"
    well, text = printed(status.print_balance, settings)
    assert well is False
    assert "does not close" in text
    assert f"missing {missing}, twice {twice}" in text


def test_what_is_missing_in_an_open_hour_may_still_come(settings):
    put(settings, BRONZE, [0])
    take_turn(settings, CLOSED - timedelta(seconds=1))
    assert not [line for line in scrape(settings) if line.startswith("kefulake_balance_closes ")]
    assert balance_command() == (0, "")
    assert printed(status.print_balance, settings) == (True, "")


def test_what_stands_twice_rings_while_the_hour_is_open(settings):
    put(settings, BRONZE, [0])
    put(settings, "silver.interactions", [0, 0])
    take_turn(settings, None)
    assert "kefulake_balance_closes 0.0" in scrape(settings)
    assert balance_command() == (1, "raw.app, hour 2026-01-05 09:00 UTC does not balance: 1 twice\n")
    assert printed(status.print_balance, settings)[0] is False


def judged(settings: Settings, kept: int, rejected: int, at: datetime) -> None:
    put(settings, "silver.interactions", list(range(kept)), processed_at=at)
    put(settings, "quarantine.rejects", list(range(kept, kept + rejected)), processed_at=at, rule="cleaning.failed")


def watch(settings: Settings, now: datetime) -> None:
    service.watch_rejects(settings, ALARM, 256, now)


def test_too_many_rejects_ring_and_say_which_rule(settings, caplog):
    """159 kept and 41 rejected a minute ago: 41 of 200 = 20.5 %, more than 20 %."""
    now = datetime.now(UTC)
    judged(settings, 159, 41, now - timedelta(minutes=1))
    watch(settings, now)
    told = scrape(settings)
    assert 'kefulake_rejected_share{channel="app"} 0.205' in told
    assert 'kefulake_rejected_share_allowed{channel="app"} 0.2' in told
    assert "ALERT app: 20.5% rejected (41 of 200; up to 20% is normal), most by cleaning.failed" in caplog.text
    _, text = printed(status.print_rejects, settings)
    assert "rejects of the last 15 minutes: too many" in text
    assert "41 of 200" in text
    assert "kefulake rejects show --rule cleaning.failed" in text


def test_a_normal_share_is_one_line(settings, caplog):
    """40 of 200 are 20 %: allowed. What was judged 16 minutes ago, all of it rejected, is outside the window."""
    now = datetime.now(UTC)
    judged(settings, 160, 40, now - timedelta(minutes=14))
    judged(settings, 0, 500, now - timedelta(minutes=16))
    watch(settings, now)
    assert 'kefulake_rejected_share{channel="app"} 0.2' in scrape(settings)
    assert "ALERT" not in caplog.text
    assert printed(status.print_rejects, settings)[1] == "rejects of the last 15 minutes: normal, 40 of 200\n"


def test_figures_of_a_service_that_stands_still_are_not_shown_as_todays(settings):
    judged(settings, 0, 500, datetime.now(UTC) - timedelta(minutes=12))
    watch(settings, datetime.now(UTC) - timedelta(minutes=11))
    told = scrape(settings)
    assert not [line for line in told if line.startswith("kefulake_rejected_share{")]
    [age] = [line for line in told if line.startswith("kefulake_rejects_age_seconds ")]
    assert 660 <= float(age.split()[1]) < 720
    assert "not measured for 11 min" in printed(status.print_rejects, settings)[1]


def test_a_turn_that_fails_does_not_keep_the_other_from_counting(settings, monkeypatch):
    """The broker is not there and the figures of rejects cannot be written: the balance is counted all the same."""
    put(settings, BRONZE, [0])
    (settings.run / "reject_shares.json").mkdir(parents=True)
    monkeypatch.setattr(service.progress, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(service.signal, "signal", lambda number, handler: None)  # pytest's own handlers stay
    assert service.main(["--once"]) == 1
    assert json.loads((settings.run / "balance.json").read_text())["received"] == 1
