"""``gold.restatements``: what an earlier published figure is now, why, and what it was (design decision 6).

Two builds are compared by DuckDB over their files: it spills to disk, and Spark's plan for sixty columns cost more than
comparing a hundred thousand rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import contracts
from pipelines.tables.current_rows import identifier_columns, under_current_customer

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

TABLE = "gold.restatements"
IDENTITY, LATE_ROWS, LATE_RECORDS = "identity", "late_rows", "late_records"
FIFTHS, REBUILT = "fifths", "rebuilt"
_MESSAGES = ("silver.interactions", "silver.feedback")


def differences(before: DuckDBPyRelation, after: DuckDBPyRelation, key: Sequence[str]) -> DuckDBPyRelation:
    """What ``after`` says differently: the key, ``column_name``, ``old_value``, ``new_value`` (text; NULL is NULL).

    Columns are those of ``after``. A row on one side only is one difference without ``column_name``, its value the
    whole row as JSON. Both are of one connection.

    >>> import duckdb
    >>> connection = duckdb.connect()
    >>> before = connection.sql("SELECT 'c1' AS k, 1 AS contacts, 'app' AS channel UNION SELECT 'c2', 5, NULL")
    >>> after = connection.sql("SELECT 'c1' AS k, 2 AS contacts, 'app' AS channel")
    >>> for row in sorted(differences(before, after, ["k"]).fetchall()): print(row)
    ('c1', 'contacts', '1', '2')
    ('c2', None, '{"contacts":5,"channel":null}', None)
    """
    columns = [name for name in after.columns if name not in key]
    keys = ", ".join(f'"{name}"' for name in key)
    row = ", ".join(f"'{name}': \"{name}\"" for name in columns)
    cell = "{{'column_name': '{0}', 'old_value': was.\"{0}\"::VARCHAR, 'new_value': now.\"{0}\"::VARCHAR}}"
    cells = ", ".join(cell.format(name) for name in columns)
    sides = {"was": before, "now": after}
    packed = [f"SELECT {keys}, {{{row}}} AS {side} FROM _{side}" for side in sides]  # noqa: S608
    for side, relation in sides.items():
        relation.create_view(f"_{side}", replace=True)
    return after.query(
        "_now",
        f"""
        WITH pairs AS (
          SELECT * FROM ({packed[0]}) FULL JOIN ({packed[1]}) USING ({keys}) WHERE was IS DISTINCT FROM now
        ), each AS (
          SELECT {keys}, unnest(CASE WHEN was IS NULL OR now IS NULL
            THEN [{{'column_name': NULL::VARCHAR, 'old_value': was::JSON::VARCHAR, 'new_value': now::JSON::VARCHAR}}]
            ELSE list_filter([{cells}], lambda d: d.old_value IS DISTINCT FROM d.new_value) END) AS d
          FROM pairs)
        SELECT {keys}, d.column_name, d.old_value, d.new_value FROM each""",  # noqa: S608
    )


def owners(
    touched: DataFrame, links_before: DataFrame, links: DataFrame, identity: Mapping[str, Any]
) -> DataFrame:  # fmt: skip
    """Rows as ``lake_changes.Touched`` with ``was`` and ``is``: whose they were by the links then, are by those now.

    ``identity`` is the policy of that name.
    """
    of = ["nth", "customer_id", "identity_status", "occurred_at", *identifier_columns(identity)]
    was, now = (
        under_current_customer(touched.select(of), which, identity).select("nth", F.col("customer_id").alias(name))
        for which, name in ((links_before, "was"), (links, "is"))
    )
    facts = touched.select("nth", "source_table", "occurred_at", "fresh", "late")
    return facts.join(was, on="nth", how="inner").join(now, on="nth", how="inner").drop("nth")


def concerned(owned: DataFrame) -> DataFrame:
    """Customers whose figures may have changed: (customer_id, restatement_reason), reasons in order with a comma.

    ``identity`` for both customers of a row that moved, ``late_rows`` and ``late_records`` for whoever has a message,
    or a CRM record or order, that came later.
    """
    # What came since was nobody's before: whose it would have been by the links then says nothing.
    theirs = F.when(F.col("fresh"), F.array("is")).otherwise(F.array("was", "is"))
    each = _with_reason(owned).select(F.explode(theirs).alias("customer_id"), "reason")
    return _told(each.where("customer_id IS NOT NULL"), "customer_id")


def periods_concerned(owned: DataFrame, period_start: Column) -> DataFrame:
    """Periods whose figures about messages may have changed: (period_start_date, restatement_reason).

    ``period_start`` is a column over ``occurred_at``.
    """
    messages = owned.where(F.col("source_table").isin(*_MESSAGES))
    each = _with_reason(messages).select(period_start.alias("period_start_date"), "reason")
    return _told(each, "period_start_date")


def _with_reason(owned: DataFrame) -> DataFrame:
    came = F.when(F.col("source_table").isin(*_MESSAGES), LATE_ROWS).otherwise(LATE_RECORDS)
    moved = ~F.col("fresh") & ~F.col("was").eqNullSafe(F.col("is"))
    reasons = F.array_compact(F.array(F.when(moved, IDENTITY), F.when(F.col("late"), came)))
    return owned.select("*", F.explode(reasons).alias("reason"))


def _told(each: DataFrame, key: str) -> DataFrame:
    reasons = F.concat_ws(",", F.sort_array(F.collect_set("reason"))).alias("restatement_reason")
    return each.groupBy(key).agg(reasons)


def as_rows(
    found: DuckDBPyRelation | None,
    key: Sequence[str],
    *,
    table: str,
    run_id: str,
    as_of_at: datetime,
    restated_at: datetime,
) -> pa.Table:
    """Rows of gold.restatements about one build's figures; ``found``: ``differences`` with their reason, None: none."""
    if found is None:
        return _schema().empty_table()
    named = ", ".join(f"'{name}': \"{name}\"" for name in key)
    columns = "column_name, old_value, new_value, restatement_reason"
    told = found.project(f"{{{named}}}::JSON::VARCHAR AS row_key, {columns}").to_arrow_table()
    about = {"table_name": table, "restated_run_id": run_id, "as_of_at": as_of_at, "restated_at": restated_at}
    made = {field.name: told[field.name].cast(field.type) if field.name in told.column_names
            else pa.repeat(pa.scalar(about[field.name], field.type), told.num_rows) for field in _schema()}  # fmt: skip
    return pa.table(made, schema=_schema())


def _schema() -> pa.Schema:
    return contracts.arrow_schema(contracts.table(TABLE))
