"""Files of the stores: read, archived, sent into raw.store, cleaned like every other message.

Daily at 01:00: all that lies in the inbox, whatever day it is of; then the day itself, whose records are sent again
from the archive where the lake lacks them. A file that is refused is told at once, and the others go on.
"""

from infra.airflow.wiring import complete, daily_dag, nightly, step, tell_failure

with daily_dag("store_import", schedule=nightly("0 1 * * *"), doc=__doc__) as dag:
    # A refused file is exit code 3 once: it has left the inbox when this is tried again. What stays there (a link, a
    # file that is too large) fails the run each night, and the day goes on without it, but for its own files.
    files = step("import_files", "kefulake store-import", minutes=60, on_retry_callback=tell_failure)
    own = 'kefulake store-import --date "$DAY" || test $? -eq 3'
    day = step("complete_day", own, minutes=60, trigger_rule="all_done")
    flush = step("flush", "kefulake flush", minutes=20, writes=["silver.interactions"])
    files >> day >> flush
    # Told to people, and nobody waits for it: the day is flushed by then. Each try takes what has come late.
    delivered = step("all_delivered", 'kefulake store-import --date "$DAY" --expect-all', minutes=60)
    flush >> delivered
    [files, day, flush, delivered] >> complete()
