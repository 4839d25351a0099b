"""Increments: what changed, what is new, what is gone; nothing twice, and killed at any commit it ends the same."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.io.migration_lake import HistoryLake
from pipelines.tables.data_balance import breaches
from tests.unit.migration.desks import Desk
from tests.unit.migration.test_certifying import compared
from tests.unit.migration.test_copying import Killed, balance

FILE = "fw_jl_000.csv"


def after_a_day(desk: Desk) -> dict[str, str]:
    """Row 10 is solved and row 11 rejected now, row 20 is gone, one row is new: keys by what happened."""
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    rows = rows.with_columns(rows["jg"].scatter([10], ["2"]), rows["qd"].scatter([11], ["9"]))
    new = rows[[0]].with_columns(pl.lit("9999999").alias("id"))
    keys = {"changed": rows["id"][10], "rejected": rows["id"][11], "gone": rows["id"][20], "new": "9999999"}
    pl.concat([rows[:20], rows[21:], new]).write_csv(desk.source / FILE)
    return keys


def clean_rows(desk: Desk, key: str) -> pl.DataFrame:
    both = [desk.rows(name) for name in ("silver.interactions", "silver.feedback")]
    return pl.concat(both).filter(pl.col("source_message_id") == key).sort("source_revision")


@pytest.fixture
def desk(tmp_path) -> Desk:
    desk = Desk(tmp_path, 400, seed=5)
    desk.copier().full(desk.files())
    return desk


def test_a_day_later(desk) -> None:
    keys = after_a_day(desk)
    copier = desk.copier()
    copier.increment(desk.files(), "whatever")
    done = copier.counted
    assert (done.read, done.unchanged, done.changed, done.deleted) == (400, 397, 3, 1)
    assert clean_rows(desk, keys["changed"]).select("source_revision", "outcome").rows()[-1] == (1, "transferred")
    last = clean_rows(desk, keys["gone"]).row(-1, named=True)
    assert (last["source_revision"], last["kind"], last["outcome"], last["text"]) == (1, "record", "revoked", None)
    assert last["phone_token"] == clean_rows(desk, keys["gone"])["phone_token"][0]  # still that customer's
    assert clean_rows(desk, keys["new"])["source_revision"].to_list() == [0]
    assert breaches(balance(desk)) == []
    found = compared(desk)
    assert found.differences == []
    assert found.kpi_unequal == []
    assert {r.key: r.rule for r in found.rejected} == desk.dirt | {keys["rejected"]: "migration.unmapped_value"}


def test_nothing_new_writes_nothing(desk) -> None:
    after_a_day(desk)
    desk.copier().increment(desk.files(), "")
    before = {name: desk.rows(name).height for name in ("bronze.raw_events", "silver.interactions")}
    again = desk.copier()
    again.increment(desk.files(), "")
    assert (again.counted.changed, again.counted.deleted) == (0, 0)
    assert {name: desk.rows(name).height for name in before} == before


def test_a_row_that_comes_back_is_a_revision(desk) -> None:
    whole = (desk.source / FILE).read_bytes()
    keys = after_a_day(desk)
    desk.copier().increment(desk.files(), "")
    (desk.source / FILE).write_bytes(whole)  # the old system restored a backup
    desk.copier().increment(desk.files(), "")
    assert clean_rows(desk, keys["gone"])["outcome"].to_list()[1] == "revoked"
    assert clean_rows(desk, keys["gone"])["source_revision"].to_list() == [0, 1, 2]
    assert clean_rows(desk, keys["new"])["outcome"].to_list()[-1] == "revoked"
    assert compared(desk).differences == []


# An increment is two chunks (changes, deletions) of four commits each.
@pytest.mark.parametrize("nth", range(8))
def test_killed_anywhere_in_an_increment(desk, monkeypatch, nth) -> None:
    after_a_day(desk)
    commits, honest = [], HistoryLake._append

    def append(self, name, rows, chunk):
        if len(commits) == nth:
            raise Killed
        commits.append(name)
        honest(self, name, rows, chunk)

    with monkeypatch.context() as patched:
        patched.setattr(HistoryLake, "_append", append)
        with pytest.raises(Killed):
            desk.copier().increment(desk.files(), "")
    desk.copier().increment(desk.files(), "")
    assert breaches(balance(desk)) == []
    assert compared(desk).differences == []
    assert desk.rows("bronze.raw_events").height == 404


def test_a_key_that_files_hold_twice(tmp_path) -> None:
    """Which of the two counts is not known: the first is kept, the second a reject with its bytes."""
    desk = Desk(tmp_path, 300, chunk_rows=100)
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    # rows 5 and 250: in one chunk the repetition of row 4, in another that of row 10
    ids = rows["id"].scatter([5, 250], [rows["id"][4], rows["id"][10]])
    rows.with_columns(ids).write_csv(desk.source / FILE)
    desk.copier().full(desk.files())
    twice = desk.rows("quarantine.rejects").filter(pl.col("rule") == "migration.key_twice")
    assert sorted(twice["raw_offset"]) == [5, 250]
    assert breaches(balance(desk)) == []
    found = compared(desk)
    assert found.differences == []
    assert found.accuracy == (300 - 2 - len(desk.dirt)) / 300

    before = desk.rows("bronze.raw_events").height
    desk.copier().increment(desk.files(), "")
    assert desk.rows("bronze.raw_events").height == before, "read again, nothing has changed"
    # row 4 changes: its repetition in row 5 is still refused, and becomes no revision of it; row 60 repeats row 20 now
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    ids = rows["id"].scatter([60], [rows["id"][20]])
    other = "1" if rows["jg"][4] == "2" else "2"
    rows.with_columns(ids, jg=rows["jg"].scatter([4], [other])).write_csv(desk.source / FILE)
    desk.copier().increment(desk.files(), "")
    desk.copier().increment(desk.files(), "")
    assert clean_rows(desk, rows["id"][4])["source_revision"].to_list() == [0, 1]
    assert clean_rows(desk, rows["id"][20])["source_revision"].to_list() == [0]
    twice = desk.rows("quarantine.rejects").filter(pl.col("rule") == "migration.key_twice")
    assert twice.height == 3
    assert breaches(balance(desk)) == []


# "0" and "0000-00-00" are how MySQL writes "not deleted" into a number and a date; both paths must read them alike
@pytest.mark.parametrize("alive", ["0", "", "0.0", "False", " n ", "否", "0000-00-00 00:00:00.000000"])
@pytest.mark.parametrize("dead", ["1", "Y", "是", "2024-05-01 12:00:00"])
def test_what_a_soft_delete_is_written_as(tmp_path, alive, dead) -> None:
    desk = Desk(tmp_path, 50, deleted={"column": "sc"})
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    marks = pl.Series("sc", [dead if n == 3 else alive for n in range(50)])
    rows.with_columns(marks).write_csv(desk.source / FILE)
    desk.copier().full(desk.files())
    assert clean_rows(desk, rows["id"][3])["outcome"].to_list() == ["revoked"]
    found = compared(desk)
    assert (found.differences, found.source_rows) == ([], 49)


def test_rows_without_a_key_are_refused_once(tmp_path) -> None:
    desk = Desk(tmp_path, 50)
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    rows.with_columns(rows["id"].scatter([3, 7, 9], ["", "", ""])).write_csv(desk.source / FILE)
    desk.copier().full(desk.files())
    before = desk.rows("bronze.raw_events").height
    for _ in range(2):
        desk.copier().increment(desk.files(), "")
    assert desk.rows("bronze.raw_events").height == before


def test_soft_deletes_are_revoked_from_the_start(tmp_path) -> None:
    desk = Desk(tmp_path, 50, deleted={"column": "sc"})
    rows = pl.read_csv(desk.source / FILE, infer_schema=False)
    rows.with_columns(pl.Series("sc", ["1" if n in (3, 30) else "0" for n in range(50)])).write_csv(desk.source / FILE)
    desk.copier().full(desk.files())
    gone = [clean_rows(desk, rows["id"][n])["outcome"].to_list() for n in (3, 30)]
    assert gone == [["revoked"], ["revoked"]]
    found = compared(desk)
    assert found.differences == []
    assert found.source_rows == 48
