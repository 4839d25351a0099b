"""Order system: one JSON record an order and change of it; payment and refund are revisions of the order."""

from __future__ import annotations

import re

import orjson

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import contact, ident, missing, objects, one_of, parse_json, required_ident, whole
from pipelines.channels.source_record import carried, minor_units, optional_instant

STATUSES = {
    "placed": "placed", "待付款": "placed", "paid": "paid", "已付款": "paid", "shipped": "shipped", "已发货": "shipped",
    "completed": "completed", "已完成": "completed", "交易成功": "completed", "cancelled": "cancelled",
    "已取消": "cancelled", "交易关闭": "cancelled", "partly_refunded": "partly_refunded", "部分退款": "partly_refunded",
    "refunded": "refunded", "已退款": "refunded",
}  # fmt: skip
_PAID = frozenset({"paid", "shipped", "completed", "partly_refunded", "refunded"})
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """An order: order_id, status, ordered_at, amount_minor and currency are required; later revisions replace earlier.

    It happened when the source last touched it (updated_at, else paid_at, else ordered_at). Money is in minor units
    of its currency (ISO 4217). What is paid has paid_at, and no more is refunded than was paid.

    >>> order = parse(b'{"order_id":"SO1","status":"paid","ordered_at":"2026-01-09 08:00","paid_at":"2026-01-09 08:01",'
    ...               b'"amount_minor":1290,"currency":"CNY","member_number":"M1"}', "shop", 1767916900000000)
    >>> order.order_id, order.member_number, order.occurred_at_us, order.outcome
    ('SO1', 'M1', 1767916860000000, 'paid')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    order_id = required_ident(fields, "order_id")
    status = one_of(fields, "status", STATUSES)
    ordered_us = occurred_at_us(fields.get("ordered_at"), "ordered_at", received_at_us)
    paid_us = optional_instant(fields, "paid_at")
    if paid_us is None and status in _PAID:
        raise missing("paid_at")
    touched = next((name for name in ("updated_at", "paid_at") if fields.get(name)), "ordered_at")
    updated_us = occurred_at_us(fields.get(touched), touched, received_at_us)
    columns = {
        "order_id": order_id,
        "order_status": status,
        "ordered_at": ordered_us,
        "paid_at": paid_us,
        "updated_at": updated_us,
        "shop_id": ident(fields, "shop"),
    }
    phone, national_id, email, unionid = contact(fields)
    return Interaction(
        source_message_id=f"{order_id}@{updated_us}",
        source_revision=whole(fields, "revision"),
        kind="record",
        sender_role="system",
        occurred_at_us=updated_us,
        outcome=status,
        order_id=order_id,
        phone=phone,
        national_id=national_id,
        email=email,
        unionid=unionid,
        openid=ident(fields, "openid"),
        member_number=ident(fields, "member_number"),
        user_handle=ident(fields, "buyer_id"),
        attributes=carried(columns | _money(fields) | _lines(fields), {}),
    )


def _money(fields: dict) -> dict[str, int | str]:
    amount, refunded = minor_units(fields, "amount_minor"), minor_units(fields, "refunded_minor", 0)
    if refunded > amount:
        raise Unreadable("order.refund_above_amount", "field refunded_minor is more than amount_minor")
    currency = required_ident(fields, "currency")
    if not _CURRENCY.fullmatch(currency):
        raise Unreadable("field.unknown_value", "field currency is no ISO 4217 code of three capital letters")
    return {"amount_minor": amount, "refunded_minor": refunded, "currency": currency}


def _lines(fields: dict) -> dict[str, int | str | None]:
    """The lines as a JSON list of {sku, category, quantity, amount_minor}, and how many units they are together."""
    lines = [
        {
            "sku": required_ident(line, "sku"),
            "category": ident(line, "category"),
            "quantity": whole(line, "quantity", 1),
            "amount_minor": minor_units(line, "amount_minor"),
        }
        for line in objects(fields, "lines")
    ]
    units = min(sum(line["quantity"] for line in lines), 2**31 - 1)
    return {"order_lines": orjson.dumps(lines).decode() if lines else None, "units": units if lines else None}
