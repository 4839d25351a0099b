"""The daily full backup (all files verified, sealed with a dated manifest), its retention, and a drill on Sundays.

Daily at 03:00. The tail is shipped every 20 seconds by a service of the stack, not from here.
"""

from airflow.providers.standard.operators.weekday import BranchDayOfWeekOperator
from airflow.providers.standard.utils.weekday import WeekDay

from infra.airflow.wiring import ENGINE, complete, daily_dag, nightly, step

with daily_dag("backup", schedule=nightly("0 3 * * *"), doc=__doc__) as dag:
    full = step("full", "kefulake backup full", minutes=240)
    retention = step("retention", "kefulake backup retention", minutes=60)
    is_sunday = BranchDayOfWeekOperator(
        task_id="is_sunday",
        week_day=WeekDay.SUNDAY,
        follow_task_ids_if_true="drill",
        follow_task_ids_if_false="complete",
    )
    drill = step("drill", "kefulake backup drill", pool=ENGINE, minutes=240)
    done = complete()
    full >> retention >> is_sunday >> [drill, done]
    drill >> done
