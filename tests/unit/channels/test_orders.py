"""Orders: money in minor units, states as revisions, and what cannot be."""

import json

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
MINUTE_US = 60_000_000
PLACED = {
    "order_id": "SO1",
    "status": "placed",
    "ordered_at": "2026-01-09 08:00",
    "amount_minor": 1290,
    "currency": "CNY",
}
PAID = PLACED | {"status": "paid", "paid_at": "2026-01-09 08:01"}


def columns(read):
    return json.loads(read.attributes)["columns"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (PLACED, {"occurred_at_us": EIGHT_US, "outcome": "placed"}),
        (PAID, {"occurred_at_us": EIGHT_US + MINUTE_US, "outcome": "paid"}),  # happened when it was last touched
        (PAID | {"updated_at": "2026-01-09 08:05"}, {"occurred_at_us": EIGHT_US + 5 * MINUTE_US}),
        (PAID | {"status": "交易成功"}, {"outcome": "completed"}),
        (PAID | {"buyer_id": "taobao-7", "openid": "o1"}, {"user_handle": "taobao-7", "openid": "o1"}),
    ],
)
def test_order(parse, shows, order, expected):
    shows(parse("orders", order), kind="record", sender_role="system", order_id="SO1", **expected)


def test_lines_are_kept_and_their_units_counted(parse):
    lines = [{"sku": "A", "category": "家电", "quantity": 2, "amount_minor": 1000}, {"sku": "B", "amount_minor": 290}]
    found = columns(parse("orders", PAID | {"lines": lines}))
    assert found["units"] == 3  # a line without a quantity is one article
    assert json.loads(found["order_lines"])[1] == {"sku": "B", "category": None, "quantity": 1, "amount_minor": 290}


def test_a_refund_is_a_revision_of_its_order(parse):
    paid = parse("orders", PAID)
    refund = parse("orders", PAID | {"status": "已退款", "refunded_minor": 1290, "updated_at": "2026-01-10 08:00"})
    assert columns(paid)["refunded_minor"] == 0
    assert columns(refund)["refunded_minor"] == 1290
    assert paid.order_id == refund.order_id
    assert paid.source_message_id != refund.source_message_id


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"amount_minor": 12.9}, "field.wrong_type"),  # yuan: whoever reads them as fen is off by a hundred
        ({"amount_minor": "1290"}, "field.wrong_type"),
        ({"amount_minor": True}, "field.wrong_type"),
        ({"amount_minor": -1}, "field.wrong_type"),
        ({"amount_minor": 10**16}, "field.wrong_type"),
        ({"amount_minor": None}, "field.missing"),
        ({"currency": "元"}, "field.unknown_value"),
        ({"refunded_minor": 1291}, "order.refund_above_amount"),
        ({"paid_at": None}, "field.missing"),  # paid, but when?
        ({"status": "lost"}, "field.unknown_value"),
        ({"ordered_at": "2099-01-01"}, "time.out_of_range"),
        ({"lines": [{"sku": "A"}]}, "field.missing"),
        ({"lines": {"sku": "A"}}, "field.wrong_type"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("orders", PAID | change).rule == rule
