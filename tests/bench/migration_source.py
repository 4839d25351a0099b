"""The old system of the measurement: ten years of records in a MariaDB database of its own, as delivered.

As delivered means: a primary key and nothing else. Looking a customer up by phone reads the whole table.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy import create_engine, text

from infra.stack import keys, mariadb
from infra.stack.settings import Settings
from pipelines.simulation import legacy_desk

DATABASE, READER = "old_desk", "old_desk_reader"
URL_VARIABLE = "KEFULAKE_OLD_DESK_URL"


def load(settings: Settings, rows: int, seed: int, tell: Callable[[int], None]) -> tuple[str, dict[str, str]]:
    """Make database, table and a user who may only read; the reader's URL and the planted dirt by key."""
    password = keys.ensure_password(settings, READER)
    root = create_engine(mariadb.root_url(settings, "mysql"), connect_args={"local_infile": True})
    with root.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"))
        connection.execute(text(f"CREATE USER '{READER}'@'127.0.0.1' IDENTIFIED BY '{password}'"))
        connection.execute(text(f"GRANT SELECT ON {DATABASE}.* TO '{READER}'@'127.0.0.1'"))
        connection.execute(text(f"USE {DATABASE}"))
        connection.execute(text(legacy_desk.DDL))
        connection.execute(text("SET SESSION sql_mode = '', unique_checks = 0"))
        dirt, done = {}, 0
        for batch in legacy_desk.batches(rows, seed, batch_rows=500_000):
            with tempfile.NamedTemporaryFile(suffix=".tsv") as file:
                batch.rows.write_csv(
                    file.name, separator="\t", include_header=False, null_value="\\N", quote_style="never"
                )
                connection.connection.cursor().execute(
                    f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE fw_jl CHARACTER SET utf8mb4 "
                    "FIELDS TERMINATED BY '\\t' LINES TERMINATED BY '\\n'"
                )
                connection.connection.commit()
            dirt |= batch.dirt
            done += len(batch.rows)
            tell(done)
    root.dispose()
    url = f"mysql+pymysql://{READER}:{password}@127.0.0.1:{settings.ports.mariadb}/{DATABASE}"
    return url, dirt


def ask(settings: Settings, statement: str, *values: Any) -> list[tuple]:
    """As the administrator of the old system."""
    with create_engine(mariadb.root_url(settings, DATABASE)).connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(statement, values)
        found = list(cursor.fetchall())
        connection.connection.commit()
        return found


def look_up(url: str, phone: str) -> tuple[float, int]:
    """Seconds and rows of "this customer's history by phone" on the source as delivered."""
    from sqlalchemy import make_url

    at = make_url(url)
    with pymysql.connect(
        host=at.host, port=at.port, user=at.username, password=at.password, database=at.database, charset="utf8mb4"
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        spelled = (phone, f"{phone[:3]}-{phone[3:7]}-{phone[7:]}", f"+86{phone}")
        began = time.perf_counter()
        cursor.execute("SELECT * FROM fw_jl WHERE kh_sj IN (%s, %s, %s) ORDER BY sl_sj DESC LIMIT 1000", spelled)
        rows = cursor.fetchall()
        return time.perf_counter() - began, len(rows)


def data_files(settings: Settings) -> list[Path]:
    """Files of the old system's table."""
    return sorted((mariadb.data_folder(settings) / DATABASE).glob("*.ibd"))


def write_more(settings: Settings, rows: int, stamp: str) -> dict[str, int]:
    """A day of the old system after the full copy: rows changed, taken away and new; how many of each.

    stamp: their time of change.
    """
    last = ask(settings, "SELECT MAX(id) FROM fw_jl")[0][0]
    changed = max(1, rows // 10_000)
    ask(settings, "UPDATE fw_jl SET jg = '1', myd = 5, gx_sj = %s WHERE id %% 2003 = 7 LIMIT %s", stamp, changed)
    ((updated,),) = ask(settings, "SELECT COUNT(*) FROM fw_jl WHERE gx_sj = %s", stamp)
    ask(settings, "DELETE FROM fw_jl WHERE id %% 2503 = 11 LIMIT %s", changed)
    ((left,),) = ask(settings, "SELECT COUNT(*) FROM fw_jl")
    ask(
        settings,
        "INSERT INTO fw_jl SELECT id + %s, qd, lx, kh_sj, hy_no, nr, '2025-12-31 23:30:00', dd_fz, cl_fz, myd, jg, gh, "
        "dd_no, %s FROM fw_jl WHERE qd <> '9' AND sl_sj > '2025-01-01' AND cl_fz > 0 ORDER BY id LIMIT %s",
        last, stamp, changed,
    )  # fmt: skip
    ((now,),) = ask(settings, "SELECT COUNT(*) FROM fw_jl")
    return {"updated": updated, "deleted": rows - left, "inserted": now - left}
