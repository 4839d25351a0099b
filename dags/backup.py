"""The daily full backup (all files verified, sealed with a dated manifest), its retention, and a drill for each Sunday.

Daily at 03:00. The tail is shipped every 20 seconds by a service of the stack, not from here. The drill opens the keys
by the passphrase: KEFULAKE_BACKUP_PASSPHRASE where Airflow is started.
"""

from infra.airflow.wiring import ENGINE, complete, daily_dag, nightly, step

with daily_dag("backup", schedule=nightly("0 3 * * *"), doc=__doc__) as dag:
    full = step("full", "kefulake backup full", minutes=240)
    # One old file that nobody can mend fails the night, and must not fill the disk or end the drills.
    retention = step("retention", "kefulake backup retention", minutes=60, trigger_rule="all_done")
    sunday = step("is_sunday", 'test "$(date -d "$DAY" +%u)" = 7 || exit 99', minutes=1)  # 99 skips what follows
    drill = step("drill", "kefulake backup drill", pool=ENGINE, minutes=240)
    full >> retention >> sunday >> drill
    [full, retention, drill] >> complete()
