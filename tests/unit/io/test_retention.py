"""What is past its retention goes as whole days, is counted, and leaves the balance closed."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from jobs import cli
from jobs.ops import balance as balance_command
from pipelines import contracts
from pipelines.io import balance_table, delta_upkeep, retention
from pipelines.io.balance_table import BalanceTable
from pipelines.io.delta import Move, open_store
from pipelines.io.lake_upkeep import keep_lake
from pipelines.tables.data_balance import BRONZE, breaches

SILVER, REJECTS = "silver.interactions", "quarantine.rejects"
OLD, NEW = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 20, 9, tzinfo=UTC)
TODAY, NOW = date(2026, 1, 30), datetime(2026, 1, 30, 3, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    from infra.stack.settings import Settings

    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    short = copy.deepcopy(contracts.policy("retention"))
    short["keep_days"] = {BRONZE: 20, REJECTS: 20}
    real = contracts.policy
    monkeypatch.setattr(contracts, "policy", lambda name: short if name == "retention" else real(name))
    return Settings.load(tmp_path, 20_000)


def put(settings, name: str, at: datetime, *offsets: int) -> None:
    """Rows of raw.app/0 at these offsets, by one commit."""
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    store = open_store(settings.table_path(name), schema, table.partition_by, name=name, description="")
    count = len(offsets)
    columns = {
        "raw_topic": ["raw.app"] * count, "raw_partition": [0] * count, "raw_offset": list(offsets),
        "received_at": [at] * count, "received_date": [at.date()] * count,
    }  # fmt: skip
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    before = store.positions(["c/t/0"]).get("c/t/0")
    store.append(pa.table(arrays, schema=schema), {"c/t/0": Move(before, (before or 0) + 1)})


def two_days(settings) -> BalanceTable:
    """5 January: three messages, two kept and one rejected; 20 January: one, kept. All hours closed and balanced."""
    put(settings, BRONZE, OLD, 0, 1, 2)
    put(settings, SILVER, OLD, 0, 1)
    put(settings, REJECTS, OLD, 2)
    put(settings, BRONZE, NEW, 3)
    put(settings, SILVER, NEW, 3)
    balance = BalanceTable(settings, grace=timedelta(0))
    balance.turn(NOW, NOW)
    return balance


def keep(settings, **changes):
    return {k.table: k for k in keep_lake(settings, **({"today": TODAY, "now": NOW} | changes))}


def rows_of(settings, name: str) -> int:
    return DeltaTable(settings.table_path(name)).to_pyarrow_table().num_rows


def test_an_expired_day_goes_from_the_tables_that_name_it_and_is_counted(settings):
    two_days(settings)
    kept = keep(settings)
    assert {name: one.rows_removed for name, one in kept.items() if one.rows_removed} == {BRONZE: 3, REJECTS: 1}
    assert [one.error for one in kept.values() if one.error] == []
    assert (rows_of(settings, BRONZE), rows_of(settings, REJECTS), rows_of(settings, SILVER)) == (1, 0, 3)
    told = retention.removals(settings).to_pylist()
    assert {(r["table_name"], r["received_date"], r["rows_removed"], r["keep_days"]) for r in told} == {
        (BRONZE, OLD.date(), 3, 20),
        (REJECTS, OLD.date(), 1, 20),
    }


def test_a_second_run_changes_nothing(settings):
    two_days(settings)
    keep(settings)
    lake = {p: p.stat().st_mtime_ns for p in settings.lake.rglob("*") if p.is_file()}
    assert [k.table for k in keep(settings).values() if k.changed or k.error] == []
    assert {p: p.stat().st_mtime_ns for p in settings.lake.rglob("*") if p.is_file()} == lake


def test_the_balance_closes_after_it_as_before(settings):
    balance = two_days(settings)
    before = balance_table.read(settings).sort_by("hour_at").to_pylist()
    keep(settings)
    assert balance.turn(NOW, NOW).num_rows == 0
    # a log that no longer reaches back makes every hour count as changed: the removed day must stay as it was counted
    monthly = BalanceTable(settings, grace=timedelta(0))
    for name in (BRONZE, SILVER, REJECTS):
        path = settings.table_path(name)
        put(settings, name, NEW, *([4] if name != REJECTS else []))
        put(settings, name, NEW)
        DeltaTable(path).create_checkpoint()
        for log in (path / "_delta_log").glob("*.json"):
            if int(log.stem) < DeltaTable(path).version():
                log.unlink()
    monthly.turn(NOW, NOW)
    after = balance_table.read(settings).sort_by("hour_at").to_pylist()
    assert after[0] == before[0]
    assert (after[1]["received"], after[1]["kept"], after[1]["missing"]) == (2, 2, 0)


def test_the_command_counts_again_and_says_what_is_gone(settings):
    two_days(settings)
    keep(settings)
    told = balance_command.rows(settings, recount=True, final=True)
    assert breaches(told) == []
    assert sorted(zip(told["hour_at"].to_pylist(), told["received"].to_pylist(), strict=True)) == [(OLD, 3), (NEW, 1)]
    done = CliRunner().invoke(cli.build(["balance"]), ["balance", "--now"])
    assert done.exit_code == 0, done.output
    assert "bronze.raw_events 3 rows, 1 days up to 2026-01-05; quarantine.rejects 1 rows" in done.output


def test_another_number_than_was_counted_is_an_alarm(settings):
    """A raw message that comes into a day that is gone: the day's balance is final, so its removal tells of it."""
    two_days(settings)
    keep(settings)
    put(settings, BRONZE, OLD, 9)
    assert keep(settings)[BRONZE].rows_removed == 1
    done = CliRunner().invoke(cli.build(["balance"]), ["balance"])
    assert done.exit_code == 1
    assert "2026-01-05: retention removed 4 raw messages, the balance had counted 3" in done.output


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        # a message of the day has no output yet: it may not go before it is known where it stands
        ("output", "does not balance: 1 missing"),
        ("balance", "the balance has not counted it"),  # the service never ran
        ("count", "the balance counted 3 rows received, bronze holds 4"),  # came after the last turn
    ],
)
def test_a_day_whose_balance_is_not_final_is_held_back(settings, missing, reason):
    put(settings, BRONZE, OLD, 0, 1, 2)
    put(settings, SILVER, OLD, 0, 1)
    if missing != "output":
        put(settings, REJECTS, OLD, 2)
    if missing != "balance":
        BalanceTable(settings, grace=timedelta(0)).turn(NOW, NOW)
    if missing == "count":
        put(settings, BRONZE, OLD, 3)
    bronze = keep(settings)[BRONZE]
    assert (bronze.rows_removed, bronze.error) == (0, "")
    assert reason in bronze.held[0]
    assert rows_of(settings, BRONZE) == (4 if missing == "count" else 3)


def test_what_a_killed_run_removed_is_recorded_by_the_next(settings):
    two_days(settings)
    retention.remove_expired(settings.table_path(BRONZE), 20, today=TODAY, now=NOW)  # killed before it could record
    assert retention.removals(settings).num_rows == 0
    keep(settings)
    assert retention.removed_by_day(settings)[BRONZE] == {OLD.date(): 3}


def test_a_rearrangement_in_between_is_seen_and_the_day_goes_all_the_same(settings, monkeypatch):
    two_days(settings)
    for _ in range(3):
        put(settings, BRONZE, OLD + timedelta(minutes=1), 100)
    path, once = settings.table_path(BRONZE), []
    policy = contracts.policy("tiering")["upkeep"] | {"compact_at_files": 2, "rest_factor": 0}

    def late(*args, **kwargs):
        if not once:
            once.append(delta_upkeep.compact(path, delta_upkeep.Upkeep.of(policy)))
        return delta_upkeep.replace_files(*args, **kwargs)

    monkeypatch.setattr(retention, "replace_files", late)
    assert retention.remove_expired(path, 20, today=TODAY, now=NOW) == (6, [])
    assert once == [4]
    assert rows_of(settings, BRONZE) == 1


@pytest.mark.parametrize(
    ("table", "days", "message"),
    [
        ("silver.interactions", 400, "figures are made of silver"),
        ("bronze.raw_evnts", 400, "no table 'bronze.raw_evnts'"),  # misspelt
        ("bronze.raw_events", 7, "its topics keep 7, so more"),  # what Kafka holds could come in again
    ],
)
def test_a_policy_that_would_lose_rows_is_refused(table, days, message):
    with pytest.raises(contracts.ContractError, match=message):
        retention.limits({"keep_days": {table: days}, "layers": ["bronze", "quarantine", "review"]})


def test_the_policy_in_force_is_sound():
    assert BRONZE in retention.limits()
