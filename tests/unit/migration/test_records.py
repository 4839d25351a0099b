"""Customers and orders of an old system: records, not contacts; money in minor units, the CRM's number coded."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.source_records import crm_record_key
from pipelines.io import second_reading, stored_history
from pipelines.migration import certifying, declaration
from pipelines.privacy.tokens import Tokeniser
from pipelines.tables.data_balance import ROLE_OF
from tests.unit.migration.desks import KEY, Desk

ORDERS = {
    "target": "silver.orders", "key": "no", "changed": "upd",
    "columns": {
        "order_id": "no", "account": {"constant": "old_shop"}, "currency": {"constant": "CNY"},
        "order_status": {"from": "zt", "map": {"1": "paid", "2": "refunded"}}, "ordered_at": "xd", "paid_at": "zf",
        "updated_at": "upd", "amount_minor": {"from": "je", "multiply": 100},
        "refunded_minor": {"from": "tk", "multiply": 100}, "member_token": {"from": "hy", "tokenise": "member"},
        "shop_id": "dp",
    },
}  # fmt: skip
CUSTOMERS = {
    "target": "silver.customers", "key": "khbh",
    "columns": {
        "record_key": {"from": "khbh", "tokenise": "crm"}, "account": {"constant": "old_crm"},
        "crm_status": {"constant": "active"}, "updated_at": "gx", "region": "dq",
        "name_token": {"from": "xm", "tokenise": "person_name"}, "phone_token": {"from": "sj", "tokenise": "phone"},
        "gender": {"from": "xb", "map": {"男": "male", "女": "female"}},
    },
}  # fmt: skip


def copied(folder, name: str, spec: dict, rows: dict) -> Desk:
    """A desk whose one table is ``rows``, copied."""
    desk = Desk(folder)
    pl.DataFrame(rows).write_csv(desk.source / "rows.csv")
    stated = {"migration": "old", "source": {"kind": "csv"}, "time_zone": "Asia/Shanghai"}
    desk.migration = declaration.parse(stated | {"tables": {name: spec | {"path": str(desk.source)}}})
    (desk.table,) = desk.migration.tables
    desk.topic = desk.migration.topic(desk.table)
    desk.copier().full(desk.files())
    return desk


def compared(desk: Desk) -> certifying.Compared:
    context = CleaningContext.create(KEY)
    coded = certifying.coded_key(desk.table, context)
    with stored_history.stored(desk.table, desk.topic, desk.path, desk.folder, coded=coded) as connection:
        found = certifying.compare(
            desk.table, lambda: second_reading.expected_rows("csv", desk.table, None), connection, context, "secret"
        )
        figures = second_reading.source_kpis("csv", desk.table, None)
        excepted = second_reading.source_kpis("csv", desk.table, None, [r.key for r in found.rejected])
        ours = stored_history.stored_kpis(connection, desk.table)
        found.kpi_unequal = list(certifying.unequal_figures(figures, excepted, ours))
    return found


def test_orders(tmp_path) -> None:
    at = "2020-01-01 08:00:00"
    rows = {
        "no": ["SO1", "SO2", "SO3"], "zt": ["1", "2", "1"], "xd": [at] * 3, "zf": [at, at, ""], "upd": [at] * 3,
        "je": ["0.29", "100.00", "12.345"],  # the last is no amount of money
        "tk": ["0", "100.00", "0"], "hy": ["M1", "", "M2"], "dp": ["店13812345670", "天猫", "天猫"],
    }  # fmt: skip
    desk = copied(tmp_path, "dd", ORDERS, rows)
    orders = desk.rows("silver.orders").sort("order_id")
    assert orders["amount_minor"].to_list() == [29, 10_000]
    assert orders["refunded_minor"].to_list() == [0, 10_000]
    assert orders["channel"].to_list() == ["orders", "orders"]
    assert orders["shop_id"][0] == f"店[phone:{Tokeniser(KEY).token('13812345670', 'phone')}]"
    assert orders["member_token"].to_list() == [Tokeniser(KEY).token("M1", "member"), None]
    found = compared(desk)
    assert found.differences == []
    assert found.kpi_unequal == []
    assert [(r.key, r.rule) for r in found.rejected] == [("SO3", "migration.not_whole")]


def test_customers(tmp_path) -> None:
    rows = {
        "khbh": ["C1", "C2"], "gx": ["2020-01-01 08:00:00", "2020-01-02 08:00:00"], "dq": ["上海", "北京"],
        "xm": ["王一", "李二"], "sj": ["13812345670", ""], "xb": ["男", "女"],
    }  # fmt: skip
    desk = copied(tmp_path, "kh", CUSTOMERS, rows)
    customers = desk.rows("silver.customers").sort("updated_at")
    context = CleaningContext.create(KEY)
    assert customers["record_key"].to_list() == [crm_record_key(no, context.record_key) for no in ("C1", "C2")]
    assert customers["name_token"][0] == Tokeniser(KEY).token("王一", "person_name")
    assert customers["gender"].to_list() == ["male", "female"]
    # nothing personal is clear in the table, and the vault can give it back
    shown = customers.write_csv()
    assert not [clear for clear in ("王一", "13812345670", "C1,") if clear in shown]
    assert customers["name_token"][0] in desk.vault
    assert compared(desk).differences == []


@pytest.mark.parametrize("target", sorted(declaration.KEY_COLUMNS))
def test_the_balance_counts_every_target(target) -> None:
    assert ROLE_OF[target] == "kept"
