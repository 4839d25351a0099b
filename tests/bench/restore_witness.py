"""What stands beside the messages and must come back too: people's decisions, the audit chain, files of the home."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.stack.settings import Settings
from jobs.ops import store_import
from jobs.ops.auditing import audit_log, write_down
from pipelines.identity.crm_import import customer_id
from pipelines.io import identity_reads, restore_vault, vault_table
from pipelines.io.mariadb import connect
from pipelines.privacy.keys import MasterKey
from tests.bench.scratch_stack import kefulake

_CRM = "customer_no,name,phone,phone_verified,unionid,member_number\n"
_VISITS = "记录编号,门店编号,到店时间,手机号,会员号,咨询内容\r\n1,{store},{day} 08:05:00,178{number:08},,换屏\r\n"
_WHY = ("--reason", "drill", "--actor", "drill")
_HOUR_S = 3600
_STORES = ("S01", "S02", "S04")


@dataclass(frozen=True)
class Witness:
    """What was done before the kill. cards: what `identity explain` knows of the customers; audit: last row."""

    customers: tuple[str, ...]
    cards: str
    audit: tuple[int, str]
    store: str
    visits: str
    number: int


def plant(settings: Settings, number: int) -> Witness:
    """Two customers merged, two merged and parted again, an audit row, a store's file, a row of Airflow's database."""
    key, numbers = MasterKey.load(settings), [f"drill-{number}-{n}" for n in range(4)]
    crm = settings.home / "drill.csv"
    rows = [f"{one},a,1770{number:03}{n:04},1,union-{one},\n" for n, one in enumerate(numbers)]
    crm.write_text(_CRM + "".join(rows), encoding="utf-8")
    kefulake("identity", "load", str(crm))
    customers = tuple(customer_id(name, key) for name in numbers)
    kefulake("identity", "merge", customers[0], customers[1], *_WHY)
    kefulake("identity", "merge", customers[2], customers[3], *_WHY)
    kefulake("identity", "split", customers[2], *_WHY)
    write_down(settings, "drill", f"drill {number}", role="drill", reason="a row before the night")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    store = _STORES[number % len(_STORES)]
    visits = _VISITS.format(store=store, day=yesterday, number=number)
    _deliver(settings, store, visits)
    with _airflow(settings) as database:
        database.execute("CREATE TABLE IF NOT EXISTS drill (number INTEGER)")
        database.execute("INSERT INTO drill VALUES (?)", [number])
        database.commit()
    last = audit_log(settings).newest(1)[0]
    return Witness(customers, _cards(settings, customers), (last.audit_seq, last.row_hash), store, visits, number)


def missing(settings: Settings, witness: Witness) -> list[str]:
    """What of it did not come back as it was."""
    seq, row_hash = witness.audit
    row = next(audit_log(settings).rows(after=seq - 1), None)
    with _airflow(settings) as database:
        numbers = {number for (number,) in database.execute("SELECT number FROM drill")}
    came = {
        "merged and parted customers": _cards(settings, witness.customers) == witness.cards,
        "audit row": row is not None and row.row_hash == row_hash,
        "audit chain": "all fit" in kefulake("audit", "verify"),
        "Airflow's database": witness.number in numbers,
        "values of tokens": not _without_a_value(settings),
        "archive of stores": _deliver(settings, witness.store, witness.visits) == ["redelivered"],
    }
    return [what for what, back in came.items() if not back]


def _without_a_value(settings: Settings) -> set[str]:
    """Tokens in restored rows that nobody could open any more."""
    carried = restore_vault.tokens_carried(settings, 0)
    return carried - set(vault_table.values(settings.table_path("identity.vault"), carried, MasterKey.load(settings)))


def _cards(settings: Settings, customers: tuple[str, ...]) -> str:
    with connect(settings.database_reader_url).connect() as connection:
        cards = [identity_reads.card(connection, one) for one in customers]
    return repr([card and (card.claims.rows(), card.links, card.decisions, card.reviews) for card in cards])


def _deliver(settings: Settings, store: str, content: str) -> list[str]:
    """Verdicts of an import."""
    inbox = settings.home / "inbox" / "stores"
    inbox.mkdir(parents=True, exist_ok=True)
    file = inbox / f"{store}.csv"
    file.write_text(content, encoding="utf-8", newline="")
    an_hour_ago = time.time() - _HOUR_S  # what is younger may still be written to
    os.utime(file, (an_hour_ago, an_hour_ago))
    return [report.file_verdict for _, report in store_import.run(settings, inbox, time.time_ns()).reports]


@contextmanager
def _airflow(settings: Settings) -> Iterator[sqlite3.Connection]:
    """A database in the place of Airflow's: it is copied as SQLite copies, whatever its tables are."""
    path = settings.home / "airflow" / "airflow.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        yield database
