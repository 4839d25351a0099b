"""Yesterday's files of the stores: read, archived, sent into raw.store, cleaned like every other message.

Daily at 01:00. Again for the same day: nothing new is sent. What is refused stands in the report of the file.
"""

from infra.airflow.wiring import complete, daily_dag, nightly, step

with daily_dag("store_import", schedule=nightly("0 1 * * *"), doc=__doc__) as dag:
    (
        step("import_files", 'kefulake store-import --date "$DAY"', minutes=60)
        >> step("flush", "kefulake flush", minutes=20, writes=["silver.interactions"])
        >> complete()
    )
