"""The certificate finds what was planted, and names it; and says nothing where nothing is wrong."""

from __future__ import annotations

import random
import shutil

import polars as pl
import pytest

from pipelines.cleaning.context import CleaningContext
from pipelines.io import second_reading, stored_history
from pipelines.io.migration_mysql import SourceRefused
from pipelines.migration import certificate, certifying
from tests.bench import migration_damage
from tests.unit.migration.desks import KEY, Desk


def compared(desk: Desk):
    context = CleaningContext.create(KEY)
    with stored_history.stored(desk.table, desk.topic, desk.path, desk.folder) as connection:
        found = certifying.compare(
            desk.table, lambda: second_reading.expected_rows(desk.kind, desk.table, None), connection,
            context, "secret",
        )  # fmt: skip
        keys = [reject.key for reject in found.rejected]
        source = second_reading.source_kpis(desk.kind, desk.table, None)
        excepted = second_reading.source_kpis(desk.kind, desk.table, None, keys)
        ours = stored_history.stored_kpis(connection, desk.table)
        found.kpi_unequal = list(certifying.unequal_figures(source, excepted, ours))
        found.kpi_groups = len(source)
        found.source_deleted = second_reading.rows_marked_deleted(desk.kind, desk.table, None)
    return found


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_honest_copy_is_accurate_but_for_its_rejects(tmp_path, kind) -> None:
    desk = Desk(tmp_path, 2_000, kind=kind)
    desk.copier().full(desk.files())
    found = compared(desk)
    assert found.differences == []
    assert found.balance.closes
    assert {r.key: r.rule for r in found.rejected} == desk.dirt
    assert found.accuracy == (2_000 - 8) / 2_000
    assert all(source == lake for source, lake in found.hashes.values())
    assert found.kpi_unequal == []
    assert found.kpi_groups > 500


def test_rows_that_the_source_calls_deleted_are_told(tmp_path) -> None:
    desk = Desk(tmp_path, 100, deleted={"column": "sc"})
    file = desk.source / "fw_jl_000.csv"
    rows = pl.read_csv(file, infer_schema=False)
    rows.with_columns(pl.Series("sc", ["1" if n in (3, 30) else "0" for n in range(100)])).write_csv(file)
    desk.copier().full(desk.files())
    stated = certificate.certificate(
        "old_desk", [compared(desk)], dict.fromkeys(desk.dirt.values(), "known"), source="csv files", issued_at="now",
        named_differences=5, cut_over=False,
    )  # fmt: skip
    (part,) = stated["tables"]
    assert (stated["certified"], part["source_rows"], part["source_deleted"]) == (True, 98, 2)
    assert "来源中已标记删除: 2 rows" in certificate.as_text(stated, "0" * 64, None)


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-8-sig"])
def test_files_of_another_encoding_are_read_by_both_paths(tmp_path, encoding) -> None:
    desk = Desk(tmp_path, 200, encoding=encoding)
    file = desk.source / "fw_jl_000.csv"
    file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    desk.copier().full(desk.files())
    found = compared(desk)
    assert (found.differences, found.accuracy) == ([], (200 - len(desk.dirt)) / 200)


def test_a_file_that_is_not_in_its_encoding_is_named(tmp_path) -> None:
    desk = Desk(tmp_path, 50, encoding="gbk")
    (desk.source / "fw_jl_001.csv").write_bytes((desk.source / "fw_jl_000.csv").read_bytes() + b"\xff\xff,")
    with pytest.raises(SourceRefused, match="is it gbk"):
        desk.copier().full(desk.files())


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Desk:
    """One copy of 3,000 rows; each test damages a copy of its lake."""
    desk = Desk(tmp_path_factory.mktemp("desk"), 3_000)
    desk.copier().full(desk.files())
    return desk


@pytest.fixture
def damaged(copied, tmp_path, monkeypatch) -> Desk:
    shutil.copytree(copied.folder / "lake", tmp_path / "lake")
    monkeypatch.setattr(copied, "path", lambda name: tmp_path.joinpath("lake", *name.split(".")))
    return copied


# Three seeds a kind; `make migration-report` plants them in the large.
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", migration_damage.KINDS)
def test_what_was_planted_is_found_and_named(damaged, kind, seed) -> None:
    chance = random.Random(f"{kind}/{seed}")
    home = chance.choice(["silver.interactions", "silver.feedback"])
    planted = migration_damage.plant(damaged.path(home), damaged.topic, kind, chance)
    found = compared(damaged)
    assert found.differences != []
    assert migration_damage.as_expected(found.differences, [planted]), (planted, found.differences)
    wrong = 0 if kind == "row_twice" else len(planted.expected)
    assert found.accuracy == (3_000 - len(damaged.dirt) - max(wrong, 1)) / 3_000
    # figures by the month show it as well, unless only words changed
    assert bool(found.kpi_unequal) or kind in ("changed_character", "shifted_time_zone", "swapped_columns")
    assert found.balance.closes == (kind not in ("lost_row", "row_twice"))
