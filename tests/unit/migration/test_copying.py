"""The copy: every row once, in exactly one table, wherever it is killed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import pytest

from infra.stack.settings import Ports, Settings
from pipelines.io import delta_erasure
from pipelines.io.balance_table import BalanceTable, read
from pipelines.io.migration_lake import BRONZE, HistoryLake
from pipelines.migration.chunks import FULL
from pipelines.tables.data_balance import breaches, build
from tests.unit.migration.desks import Desk

OUTPUTS = ("silver.interactions", "silver.feedback", "quarantine.rejects")


class Killed(BaseException):
    """No except clause of ours catches it: as a kill -9, nothing is cleaned up."""


def balance(desk: Desk):
    rows = {name: desk.rows(name) for name in (BRONZE, *OUTPUTS)}
    hours = sorted({at.replace(minute=0, second=0, microsecond=0) for at in rows[BRONZE]["received_at"].to_list()})
    with duckdb.connect() as connection:
        relation = {name: connection.from_arrow(frame.to_arrow()) for name, frame in rows.items()}
        return build(
            connection, relation.pop(BRONZE), relation, hours, passed_until=datetime(2030, 1, 1, tzinfo=UTC),
            computed_at=datetime(2030, 1, 1, tzinfo=UTC), grace=timedelta(0),
        )  # fmt: skip


def as_copied(desk: Desk) -> dict[str, pl.DataFrame]:
    """What stands there, without clocks and without what is sealed with a nonce of its own."""
    clocks = ("received_at", "processed_at", "payload_encrypted", "payload_ciphertext")
    return {name: desk.rows(name).drop(clocks, strict=False).sort("raw_offset") for name in (BRONZE, *OUTPUTS)}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_row_stands_in_exactly_one_table(tmp_path, kind) -> None:
    desk = Desk(tmp_path, 2_300, kind=kind)
    desk.copier().full(desk.files())
    assert desk.rows(BRONZE).height == 2_300
    assert breaches(balance(desk)) == []
    rejects = desk.rows("quarantine.rejects")
    keys = dict(zip(*desk.rows(BRONZE).select("raw_offset", "key_bytes"), strict=True))
    # 4,000 in a million of 2,300 are nine rows; what was planted, and nothing else, is refused, each by its rule
    refused = zip(rejects["raw_offset"], rejects["rule"], strict=True)
    assert {keys[offset].decode(): rule for offset, rule in refused} == desk.dirt
    assert len(desk.dirt) == 9


def test_what_a_kill_left_is_made_good_without_the_source(tmp_path, monkeypatch) -> None:
    desk = Desk(tmp_path, 300)
    with monkeypatch.context() as patched:
        patched.setattr(HistoryLake, "append", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            desk.copier().full(desk.files())
    assert desk.lake().columns() == desk.files().columns
    shutil.rmtree(desk.source)
    copier = desk.copier()
    copier.make_good(desk.lake().columns())
    assert copier.counted.made_good == 300
    assert breaches(balance(desk)) == []


def test_where_a_copy_goes_on_after_its_newest_rows_were_erased(tmp_path) -> None:
    desk = Desk(tmp_path, 300)
    desk.copier().full(desk.files())
    rows = desk.rows(BRONZE).sort("raw_offset")
    delta_erasure.erase(desk.path(BRONZE), ["raw_offset"], lambda frame: frame["raw_offset"] >= 298)
    assert desk.lake().last_key(FULL) == rows["key_bytes"][297].decode()
    assert desk.lake().end(BRONZE, FULL) == 300  # no offset is given twice


def test_a_second_run_changes_nothing(tmp_path) -> None:
    desk = Desk(tmp_path, 1_200)
    desk.copier().full(desk.files())
    before = as_copied(desk)
    again = desk.copier()
    again.full(desk.files())
    assert again.counted.read == 0
    for name, rows in as_copied(desk).items():
        assert rows.equals(before[name]), name


# Two chunks of 150 of four commits each; killed before the nth and after it, so at every joint there is.
@pytest.mark.parametrize("nth", range(8))
@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, nth, after) -> None:
    whole = Desk(tmp_path / "whole", 300, chunk_rows=150) if (tmp_path / "whole").mkdir() is None else None
    whole.copier().full(whole.files())
    (tmp_path / "killed").mkdir()
    desk = Desk(tmp_path / "killed", 300, chunk_rows=150)
    commits, honest = [], HistoryLake._append

    def append(self, name, rows, chunk):
        if len(commits) == nth and not after:
            raise Killed
        honest(self, name, rows, chunk)
        commits.append(name)
        if len(commits) == nth + 1 and after:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(HistoryLake, "_append", append)
        with pytest.raises(Killed):
            desk.copier().full(desk.files())
    desk.copier().full(desk.files())
    assert breaches(balance(desk)) == []
    for name, rows in as_copied(whole).items():
        assert as_copied(desk)[name].equals(rows), name


def test_the_balance_service_counts_history_as_it_counts_a_topic(tmp_path) -> None:
    desk = Desk(tmp_path, 700)
    desk.copier().full(desk.files())
    settings = Settings(home=tmp_path, ports=Ports(20_000))
    later = datetime(2026, 1, 10, tzinfo=UTC)
    table = BalanceTable(settings, grace=timedelta(minutes=15))
    rows = table.turn(later, now=later)
    assert [row["raw_topic"] for row in rows.to_pylist()] == [desk.topic]
    (row,) = rows.to_pylist()
    assert (row["received"], row["kept"] + row["rejected"], row["closed"]) == (700, 700, True)
    assert breaches(rows) == []
    assert table.turn(later, now=later).num_rows == 0


def test_a_copy_that_was_killed_rings_until_it_goes_on(tmp_path, monkeypatch) -> None:
    """Raw rows without an output are what the balance is for: it says so, and is quiet once the copy went on."""
    desk = Desk(tmp_path, 700)
    monkeypatch.setattr(HistoryLake, "append", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        desk.copier().full(desk.files())
    monkeypatch.undo()
    settings = Settings(home=tmp_path, ports=Ports(20_000))
    later = datetime(2026, 1, 10, tzinfo=UTC)
    table = BalanceTable(settings, grace=timedelta(minutes=15))
    assert [breach.missing for breach in breaches(table.turn(later, now=later))] == [500]
    desk.copier().full(desk.files())
    table.turn(later, now=later)
    assert breaches(read(settings)) == []
