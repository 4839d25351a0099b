"""Rows of silver.customers and silver.orders for cases: partial rows become whole ones, and then what the jobs read."""

from __future__ import annotations

from typing import Any

from jobs.spark.sources import settled
from pipelines import contracts
from pipelines.tables import customer_base, order_values

IDENTITY = contracts.policy("identity")


def crm_row(row: dict[str, Any]) -> dict[str, Any]:
    """A CRM record; its key is its customer unless it says otherwise."""
    given = {"channel": "crm", "crm_status": "active", "identity_status": "linked", **row}
    return {"record_key": f"crm/{row.get('customer_id')}", "occurred_at": row["updated_at"], **given}


def order_row(row: dict[str, Any]) -> dict[str, Any]:
    """A paid order in yuan; it happened when it was paid unless it says when it changed."""
    paid_at = row.get("paid_at", row.get("updated_at"))
    given = {"order_status": "paid", "currency": "CNY", "refunded_minor": 0, "updated_at": paid_at, **row}
    given |= {"channel": "orders", "paid_at": row.get("paid_at", paid_at)}
    return {"ordered_at": paid_at, "occurred_at": given["updated_at"], "identity_status": "linked", **given}


def current_records(frame: Any, case: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """base, orders, paid orders and values of a case."""
    links, at = frame("silver.identity_links", case.get("links", [])), case["as_of_at"]
    records = frame("silver.customers", map(crm_row, case.get("customers", [])))
    orders = frame("silver.orders", map(order_row, case.get("orders", [])))
    base = settled(customer_base.build(records, links, IDENTITY, as_of_at=at))
    current = settled(order_values.current_orders(orders, links, IDENTITY, as_of_at=at))
    paid = order_values.paid(current)
    return base, current, paid, settled(order_values.build(paid, as_of_at=at, policy=contracts.policy("value_tiers")))


def customer_records(frame: Any, case: dict[str, Any]) -> tuple[Any, Any, Any]:
    """base, orders and values, as customer_360.build takes them."""
    base, orders, _, values = current_records(frame, case)
    return base, orders, values
