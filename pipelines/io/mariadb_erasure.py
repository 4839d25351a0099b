"""Takes a person's rows out of MariaDB for good: out of its tables, and out of its files.

A deleted row stays in its page, and every change of it in the redo log. Tried out on 11.4: OPTIMIZE TABLE writes a
table anew without it; then, with no page waiting to be written, a redo log of another size is a new file, and the old
one goes. After that nothing of 100 rows was left in any file; before, the redo log held each of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import (
    ColumnElement,
    Engine,
    TableClause,
    and_,
    column,
    delete,
    false,
    func,
    or_,
    select,
    table,
    text,
    tuple_,
)

from pipelines.io.identity_lock import alone
from pipelines.privacy.erasure import REFERENCES, Person, columns_that_tell

MEMBERS, RECORDS = "identity_members", ("record_key", "other_record_key")
_MB = 1 << 20
_FLUSH_LIMIT_S = 120.0


def telling_tables(engine: Engine) -> dict[str, list[str]]:
    """Tables of the database that can hold a person, with the columns that tell."""
    query = text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
        " ORDER BY table_name, ordinal_position"
    )
    columns: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for name, one in connection.execute(query):
            columns.setdefault(name, []).append(one)
    telling = {name: columns_that_tell(names) for name, names in columns.items()}
    if MEMBERS in columns:  # what is known of a record and names no identifier: reviews, decisions, what was compared
        for name, names in columns.items():
            telling[name] += [column for column in RECORDS if column in names and name != MEMBERS]
    # Who the person's records are stands in the members, so these go last.
    return {name: telling[name] for name in sorted(telling, key=lambda name: (name == MEMBERS, name)) if telling[name]}


def count_rows(engine: Engine, name: str, columns: list[str], who: Person) -> int:
    """The person's rows of one table."""
    target, condition = _theirs(name, columns, who)
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(target).where(condition)).scalar_one()


def delete_rows(engine: Engine, tables: Mapping[str, list[str]], who: Person) -> int:
    """Delete them from all `tables` (name → columns that tell), in one transaction; how many went.

    No process changes identities meanwhile: one at work would write links of the person back.
    """
    gone = 0
    with alone(engine) as connection:
        for name, columns in tables.items():
            target, condition = _theirs(name, columns, who)
            gone += connection.execute(delete(target).where(condition)).rowcount
    return gone


def _theirs(name: str, columns: list[str], who: Person) -> tuple[TableClause, ColumnElement[bool]]:
    """The counterpart of `pipelines.privacy.erasure.concerned`: sessions are among the messages by now."""
    target = table(name, *map(column, columns))
    hits = [target.c[c].in_(who.tokens) for c in columns if c == "token" or c.endswith("_token")]
    if "customer_id" in columns:
        customer = target.c.customer_id
        not_anothers = or_(
            customer.is_(None), customer.startswith("p_", autoescape=True), customer.in_(who.customer_ids)
        )
        hits = [*(and_(hit, not_anothers) for hit in hits), customer.in_(who.customer_ids)]
    members = table(MEMBERS, column("record_key"), column("customer_id"))
    records = select(members.c.record_key).where(members.c.customer_id.in_(who.customer_ids))
    hits += [target.c[name].in_(records) for name in RECORDS if name in columns]
    places = [_place(message) for message in who.messages]
    for names in REFERENCES:
        if set(names) <= set(columns) and places:
            hits.append(tuple_(*(target.c[c] for c in names)).in_(places))
    return target, or_(false(), *hits)


def _place(message: str) -> tuple[str, int, int]:
    topic, partition, offset = message.rsplit("/", 2)
    return topic, int(partition), int(offset)


def scrub(root: Engine, names: list[str]) -> None:
    """Take what was deleted out of the server's files. Needs an administrator; readers and writers go on meanwhile.

    Raises TimeoutError when pages are still waiting to be written after two minutes.
    """
    with root.connect() as connection:
        connection.exec_driver_sql("SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON")
        for name in names:
            connection.exec_driver_sql(f"OPTIMIZE TABLE `{name}`").all()
        if connection.exec_driver_sql("SELECT @@log_bin").scalar_one():
            connection.exec_driver_sql("FLUSH BINARY LOGS")
            newest = connection.exec_driver_sql("SHOW BINARY LOGS").all()[-1][0]
            connection.execute(text("PURGE BINARY LOGS TO :newest"), {"newest": newest})
        size = connection.exec_driver_sql("SELECT @@innodb_log_file_size").scalar_one()
        for megabytes in (size // _MB + 16, size // _MB):
            with _no_page_waits(root):
                connection.exec_driver_sql(f"SET GLOBAL innodb_log_file_size = {megabytes * _MB}")
                _until(root, "SELECT @@innodb_log_file_size", megabytes * _MB)


@contextmanager
def _no_page_waits(root: Engine) -> Iterator[None]:
    names = ("innodb_max_dirty_pages_pct_lwm", "innodb_max_dirty_pages_pct")
    with root.connect() as connection:
        before = {name: connection.exec_driver_sql(f"SELECT @@{name}").scalar_one() for name in names}
        for name in names:
            connection.exec_driver_sql(f"SET GLOBAL {name} = 0")
    try:
        deadline = time.monotonic() + _FLUSH_LIMIT_S
        while (waiting := _dirty_pages(root)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if waiting:
            raise TimeoutError(f"MariaDB still has {waiting} pages to write after {_FLUSH_LIMIT_S:.0f} s; try again")
        yield
    finally:
        with root.connect() as connection:
            for name in reversed(names):
                connection.exec_driver_sql(f"SET GLOBAL {name} = {before[name]}")


def _dirty_pages(root: Engine) -> int:
    with root.connect() as connection:
        return int(connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").one()[1])


def _until(root: Engine, question: str, answer: int) -> None:
    deadline = time.monotonic() + _FLUSH_LIMIT_S
    while time.monotonic() < deadline:
        with root.connect() as connection:
            if connection.exec_driver_sql(question).scalar_one() == answer:
                return
        time.sleep(0.1)
    raise TimeoutError(f"MariaDB did not come to {question} = {answer} within {_FLUSH_LIMIT_S:.0f} s")
