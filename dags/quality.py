"""The gate between silver and gold: the day's rows against contracts, business checks and what is normal.

When a day's store files are in. A failed stop check fails the run, and gold of that day is not built.
"""

from infra.airflow.wiring import ENGINE, after, complete, daily_dag, step

with daily_dag("quality", schedule=after("silver.interactions"), doc=__doc__) as dag:
    check = step(
        "check_silver",
        'kefulake quality check silver --date "$DAY"',
        pool=ENGINE,
        minutes=60,
        writes=["gold.quality_results"],
        retries=0,  # the same rows give the same verdict
    )
    docs = step("render_docs", "kefulake quality docs", minutes=20, trigger_rule="all_done")
    check >> docs
    [check, docs] >> complete()
