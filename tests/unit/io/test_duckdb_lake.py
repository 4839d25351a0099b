"""The lake through DuckDB: what is there comes out, nothing can be changed, nothing else can be reached."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from deltalake import DeltaTable

from pipelines.io import duckdb_lake
from pipelines.io.answer import QueryRefused
from tests.unit.io.lake import AT, interaction, write

SILVER = "silver.interactions"


def _all(lake, sql):
    return list(duckdb_lake.ask(lake, sql).rows)


def test_a_table_without_a_log_is_empty_with_the_columns_of_its_contract(tmp_path):
    assert _all(tmp_path, "SELECT count(*), max(occurred_at), max(score) FROM silver.interactions") == [(0, None, None)]


def test_rows_come_from_every_partition_and_instants_are_utc(tmp_path):
    later = AT + timedelta(days=1, microseconds=7)
    write(tmp_path, SILVER, [interaction(1)])
    write(tmp_path, SILVER, [interaction(2, received_at=later, score=4.5)])
    found = _all(tmp_path, "SELECT raw_offset, received_at, received_date, score FROM silver.interactions ORDER BY 1")
    assert found == [(1, AT, date(2026, 1, 5), None), (2, later, date(2026, 1, 6), 4.5)]
    assert found[0][1].utcoffset() == timedelta(0)


def test_a_lake_lies_where_it_is_put(tmp_path):
    lake = tmp_path / "客服 lake 100%"
    write(lake, SILVER, [interaction(1)])
    link = {"token": "ph1_a", "token_type": "phone", "stretch": 0, "link_rule": "attested", "valid_from_at": AT}
    write(lake, "silver.identity_links", [link])
    assert _all(lake, "SELECT raw_offset, received_date FROM silver.interactions") == [(1, date(2026, 1, 5))]
    assert _all(lake, "SELECT token FROM silver.identity_links") == [("ph1_a",)]


def test_a_table_may_be_named_with_the_catalogue_as_trino_calls_it(tmp_path):
    write(tmp_path, SILVER, [interaction(1)])
    assert _all(tmp_path, "SELECT count(*) FROM delta.silver.interactions i") == [(1,)]
    assert _all(tmp_path, 'SELECT count(*) FROM "SILVER"."Interactions"') == [(1,)]


def test_a_column_added_later_is_null_in_older_rows_and_known_before_any_file_has_it(tmp_path):
    write(tmp_path, SILVER, [interaction(1)], without=("attributes",))
    table = DeltaTable(str(tmp_path / "silver" / "interactions"))
    assert "attributes" not in {f.name for f in table.schema().fields}
    with pytest.raises(QueryRefused, match="attributes"):
        _all(tmp_path, "SELECT attributes FROM silver.interactions")
    write(tmp_path, SILVER, [interaction(2, attributes="{}")])
    assert _all(tmp_path, "SELECT raw_offset, attributes FROM silver.interactions ORDER BY 1") == [(1, None), (2, "{}")]


def test_deleted_rows_are_gone_and_old_files_are_not_read(tmp_path):
    write(tmp_path, SILVER, [interaction(1), interaction(2)])
    DeltaTable(str(tmp_path / "silver" / "interactions")).delete("raw_offset = 1")
    assert _all(tmp_path, "SELECT raw_offset FROM silver.interactions") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW silver.interactions",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '{file}'",
        "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT * FROM x",  # a SELECT to DuckDB, and it would write
        "SELECT (WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "SET enable_external_access = true",
        "ATTACH '{file}'",
        "INSTALL delta",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('/*')",
        "SELEC 1",
        "",
    ],
)
def test_what_is_not_reading_the_tables_is_refused(tmp_path, sql):
    write(tmp_path, SILVER, [interaction(1)])
    # The worst file to reach: one of the lake's own.
    victim = next((tmp_path / "silver" / "interactions").rglob("*.parquet"))
    before = victim.read_bytes()
    with pytest.raises(QueryRefused):
        _all(tmp_path, sql.format(file=tmp_path / "secret.csv"))
    if "{file}" in sql:
        with pytest.raises(QueryRefused):
            _all(tmp_path, sql.format(file=victim))
    assert victim.read_bytes() == before
    assert not (tmp_path / "secret.csv").exists()


def test_a_deeply_nested_query_ends_in_an_answer_or_a_refusal(tmp_path):
    deep = "(" * 3000 + "1" + ")" * 3000
    with pytest.raises(QueryRefused):
        _all(tmp_path, "SELECT " + deep)


def test_the_catalogue_shows_all_declared_tables(tmp_path):
    names = {row[0] for row in _all(tmp_path, "SELECT table_name FROM information_schema.tables")}
    assert {"interactions", "customer_360", "queue"} <= names


def test_a_query_opens_no_table_it_does_not_name(tmp_path):
    write(tmp_path, SILVER, [interaction(1)])
    broken = tmp_path / "gold" / "customer_360" / "_delta_log"
    broken.mkdir(parents=True)
    (broken / "00000000000000000000.json").write_text("not a log")
    assert _all(tmp_path, "SELECT count(*) FROM silver.interactions") == [(1,)]


def test_instants_before_1970_and_after_2099_survive(tmp_path):
    early, late = datetime(1969, 12, 31, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    write(tmp_path, SILVER, [interaction(1, occurred_at=early), interaction(2, occurred_at=late)])
    assert _all(tmp_path, "SELECT min(occurred_at), max(occurred_at) FROM silver.interactions") == [(early, late)]


def test_what_does_not_fit_into_memory_goes_into_a_folder_nobody_made(tmp_path):
    aside = tmp_path / "scratch" / "aside"
    with duckdb_lake.spilling(aside, memory_mb=64) as connection:
        rows = connection.execute("SELECT md5(range::VARCHAR) AS said FROM range(2_000_000) ORDER BY said")
        assert rows.fetchone() is not None
        assert list(aside.iterdir())  # it did spill, or this test says nothing
