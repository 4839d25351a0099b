"""What of two builds differs, and how gold.restatements takes it in; without Spark."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from infra.stack.settings import Settings
from jobs.spark import hot_questions
from jobs.spark.publishing import write_restated
from jobs.spark.restating import Restated, restate_periods
from pipelines import contracts
from pipelines.tables import restatements
from tests.unit.io.lake import write

AT = datetime(2026, 1, 20, tzinfo=UTC)
KEY = ["customer_id", "tag"]
COLUMNS = 'customer_id VARCHAR, tag VARCHAR, n BIGINT, "at" TIMESTAMPTZ'


def compared(before: list[tuple], after: list[tuple]) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, rows in (("b", before), ("a", after)):
            connection.execute(f"CREATE TABLE {name} ({COLUMNS})")
            for row in rows:
                connection.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", row)
        found = restatements.differences(connection.table("b"), connection.table("a"), KEY)
        return sorted(found.fetchall(), key=str)


CASES = {
    "nothing changed": ([("c1", "x", 1, AT)], [("c1", "x", 1, AT)], []),
    "NULL is a value like others": (
        [("c1", "x", None, None), ("c2", "x", None, AT), ("c3", "x", 3, AT)],
        [("c1", "x", None, None), ("c2", "x", 2, AT), ("c3", "x", None, AT)],
        [("c2", "x", "n", None, "2"), ("c3", "x", "n", "3", None)],
    ),
    "two columns of a row are two differences, instants in UTC": (
        [("c1", "x", 1, None)],
        [("c1", "x", 2, AT)],
        [("c1", "x", "at", None, "2026-01-20 00:00:00+00"), ("c1", "x", "n", "1", "2")],
    ),
    "a row that came and one that went, whole": (
        [("c1", "x", 1, None)],
        [("c1", "y", 2, None)],
        [("c1", "x", None, '{"n":1,"at":null}', None), ("c1", "y", None, None, '{"n":2,"at":null}')],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_differences(case):
    before, after, expected = CASES[case]
    assert compared(before, after) == expected


def restated(run_id: str, *customers: str) -> Restated:
    """One changed figure of each of these customers."""
    with duckdb.connect() as connection:
        rows = [f"('{customer}', 'contacts', '1', '2', 'identity')" for customer in customers] or [
            "('', '', '', '', '')"
        ]
        found = connection.sql(
            f"FROM (VALUES {', '.join(rows)}) v(customer_id, column_name, old_value, new_value, restatement_reason)"
        ).filter("customer_id <> ''")
        told = restatements.as_rows(
            found, ["customer_id"], table="gold.x", run_id=run_id, as_of_at=AT, restated_at=AT
        )  # fmt: skip
    return Restated("gold.x", run_id, told)


def test_a_second_try_replaces_what_the_first_wrote_also_by_nothing(tmp_path):
    settings = dataclasses.replace(Settings.load(home=tmp_path), home=tmp_path)
    path = settings.table_path("gold.restatements")

    def told() -> list[tuple[str, str]]:
        rows = DeltaTable(str(path)).to_pyarrow_table().select(["restated_run_id", "row_key"]).to_pylist()
        return sorted((row["restated_run_id"], row["row_key"]) for row in rows)

    write_restated(restated("run1"), settings)
    assert not path.exists(), "nothing to say makes no table"
    write_restated(restated("run1", "c1"), settings)
    write_restated(restated("run2", "c1", "c2"), settings)
    one, both = [("run1", '{"customer_id":"c1"}')], [("run2", f'{{"customer_id":"{c}"}}') for c in ("c1", "c2")]
    assert told() == one + both
    write_restated(restated("run2", "c2"), settings)  # tried again, knowing more
    assert told() == one + both[1:]
    write_restated(restated("run2"), settings)  # and again: the link was taken back meanwhile
    assert told() == one
    before = DeltaTable(str(path)).version()
    write_restated(restated("run3"), settings)
    assert DeltaTable(str(path)).version() == before, "nothing said, nothing committed"


def question(day: int, question_id: str, askers: int) -> dict:
    counts = {"questions": 3, "phrasings": 1, "question_channels": 1, "period_askers": 3, "period_questions": 3}
    return counts | {
        "period_type": "day", "period_start_date": date(2026, 1, day), "question_rank": 1, "question_id": question_id,
        "question": "怎么退货？", "key_terms": "退货", "askers": askers, "top_channel": "app", "period_outliers": 0,
    }  # fmt: skip


def test_only_days_that_were_over_when_they_were_published_are_restated(tmp_path):
    settings = dataclasses.replace(Settings.load(home=tmp_path), home=tmp_path)
    table = "gold.hot_questions"
    write(settings.lake, table, [question(5, "same", 2), question(6, "gone", 2), question(7, "open", 2)])
    staged = tmp_path / "staged"
    staged.mkdir()
    built = [question(5, "same", 3), question(6, "new", 2), question(7, "open", 9)]
    schema = contracts.arrow_schema(contracts.table(table))
    pq.write_table(pa.Table.from_pylist(built, schema=schema), staged / "part-0.parquet")
    # One in the morning of the 7th in Shanghai: that day had begun.
    notes = {"run_id": "r1", "as_of_at": "2026-01-06T17:00:00+00:00", "sources": {}, "period": "day", "since": None}
    builds = hot_questions.standing([notes], "day", None, datetime(2026, 1, 20, tzinfo=UTC))
    [found] = restate_periods(table, settings, None, {}, builds, staged, None)
    told = {(json.loads(row["row_key"])["question_id"], row["column_name"], row["old_value"] is None,
             row["new_value"] is None, row["restatement_reason"]) for row in found.rows.to_pylist()}  # fmt: skip
    # Nothing came that could explain it, so it is the build itself that counts differently.
    assert told == {
        ("same", "askers", False, False, "rebuilt"),
        ("gone", None, False, True, "rebuilt"),
        ("new", None, True, False, "rebuilt"),
    }
