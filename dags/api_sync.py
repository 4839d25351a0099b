"""What must be asked for: CRM, customer-service system, app back end.

Every 15 minutes, from the cursor of the run before with an overlap; a run that is missed is made up for by the next.
"""

from airflow.sdk import CronTriggerTimetable

from infra.airflow.wiring import BUSINESS_ZONE, complete, daily_dag, step

with daily_dag(
    "api_sync", schedule=CronTriggerTimetable("*/15 * * * *", timezone=str(BUSINESS_ZONE)), doc=__doc__
) as dag:
    step("sync", "kefulake api-sync", minutes=14) >> complete()
