"""Upkeep of all tables: retention, small files into larger ones, checkpoints, removal of what no version refers to.

Daily at 04:00, also when gold was not built.
"""

from infra.airflow.wiring import complete, daily_dag, nightly, step

with daily_dag("maintenance", schedule=nightly("0 4 * * *"), doc=__doc__) as dag:
    retention, compact, checkpoint, vacuum = (
        step(name, f"kefulake maintain --step {name}", minutes=120)
        for name in ("retention", "compact", "checkpoint", "vacuum")
    )
    retention >> compact >> checkpoint >> vacuum >> complete()
