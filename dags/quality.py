"""The gate between silver and gold: rows against contracts, business checks and what is normal.

When a day's store files are in: every day of receipt that changed since it was last judged (what came late for an old
day was received today). A failed stop check fails the run, and gold is not built.
"""

from infra.airflow.wiring import ENGINE, after, complete, daily_dag, step

with daily_dag("quality", schedule=after("silver.interactions"), doc=__doc__) as dag:
    check = step(
        "check_silver",
        "kefulake quality check silver",
        pool=ENGINE,
        minutes=60,
        writes=["gold.quality_results"],
        retries=0,  # the same rows give the same verdict
    )
    docs = step("render_docs", "kefulake quality docs", minutes=20, trigger_rule="all_done")
    check >> docs
    [check, docs] >> complete()
