"""The gold tables of a day: customer_360, customer_tags, hot_questions; built aside, checked, published in one commit.

When the day's silver has passed its checks. A past day built again never takes back what later days brought.
"""

from infra.airflow.wiring import ENGINE, after, complete, daily_dag, step

with daily_dag("customer_360", schedule=after("gold.quality_results"), doc=__doc__) as dag:
    (
        step(
            "build_gold",
            'python -m jobs.spark.gold --day "$DAY"',
            pool=ENGINE,
            minutes=180,
            writes=["gold.customer_360", "gold.customer_tags", "gold.hot_questions"],
        )
        >> complete()
    )
