"""A timetable whose partitions are business days of the business zone.

Airflow's own writes the key of a partition from the instant in UTC: a run at 01:00 in Shanghai on the 29th, for the day
before, would be called the 27th.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import DateTime


class BusinessDayTimetable(CronPartitionTimetable):
    """At the times of a cron expression in a zone; the partition is the date, in that zone, one step of it earlier.

    >>> nightly = BusinessDayTimetable("0 1 * * *", timezone="Asia/Shanghai", run_offset=-1)
    >>> nightly._format_key(DateTime.fromisoformat("2026-11-27T17:00:00+00:00"))  # 01:00 of the 28th there
    '2026-11-28'
    """

    def _format_key(self, partition_date: DateTime) -> str:
        return partition_date.astimezone(ZoneInfo(str(self._timezone.name))).date().isoformat()


class BusinessDayPlugin(AirflowPlugin):
    """Makes the timetable known to the scheduler (setup.cfg, airflow.plugins)."""

    name = "kefulake_business_day"
    timetables = [BusinessDayTimetable]  # noqa: RUF012 (Airflow reads the attribute of the class)
