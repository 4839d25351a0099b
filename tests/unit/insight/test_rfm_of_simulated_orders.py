"""From simulated orders through the cleaning function to value tiers: equal to those of the truth, person by person."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import polars as pl

from pipelines import contracts
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean
from pipelines.identity import map_records
from pipelines.insight import rfm
from pipelines.privacy.keys import MasterKey
from pipelines.simulation.orders import orders
from pipelines.simulation.people import customer

SEED, PEOPLE, UNTIL_AT = 11, 300, datetime(2026, 7, 1, tzinfo=UTC)
POLICY = contracts.policy("value_tiers")


def _known(context: CleaningContext) -> None:
    """Every identifier of everybody in the map, under the person's number."""
    for number in range(PEOPLE):
        person = customer(SEED, number)
        for kind, value in (("phone", person.phone), ("unionid", person.unionid), ("member", person.member_number)):
            token = context.tokeniser.token(value, kind)
            link = {"token": token, "token_type": kind, "customer_id": person.customer_no, "evidence": "truth"}
            map_records.feed(context.identity, [(token, orjson.dumps(link | {"rule_version": "1"}))])


def _tiers(rows: list[tuple]) -> dict[str, tuple]:
    schema = {"customer_id": pl.String, "occurred_at": pl.Int64, "amount_minor": pl.Int64, "currency": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.from_epoch("occurred_at", time_unit="us").dt.replace_time_zone("UTC")
    )
    return {row[0]: row[1:] for row in rfm.value_tiers(frame, POLICY, period_end_at=UNTIL_AT).iter_rows()}


def _paid(order: dict) -> bool:
    return "paid_at" in order and order.get("order_status", order.get("status")) != "cancelled"


def test_tiers_of_clean_orders_are_those_of_the_truth():
    context = CleaningContext.create(MasterKey({1: bytes(32)}))
    _known(context)
    sent = [message for message in orders(SEED, PEOPLE, UNTIL_AT) if message.expect == "kept"]
    n = len(sent)
    received = [message.updated_us + 60_000_000 for message in sent]
    batch = RawBatch(
        [m.value for m in sent], ["raw.orders"] * n, [0] * n, list(range(n)), received, [None] * n, [None] * n, [0] * n,
        [None] * n,
    )  # fmt: skip
    out = clean(batch, context, 0)
    assert set(out["topic"]) == {"orders.clean"}
    cleaned = [orjson.loads(record) for record in out["record"]]
    assert {record["identity_status"] for record in cleaned} == {"linked"}
    newest = {record["order_id"]: record for record in cleaned}  # sent in the order of their changes
    found = _tiers(
        [
            (o["customer_id"], o["paid_at"], o["amount_minor"] - o["refunded_minor"], o["currency"])
            for o in newest.values()
            if _paid(o)
        ]
    )
    truth = {orjson.loads(m.value)["order_id"]: (m.customer_no, orjson.loads(m.value)) for m in sent}
    shanghai = "%Y-%m-%d %H:%M:%S%z"
    expected = _tiers(
        [
            (
                customer_no,
                int(datetime.strptime(o["paid_at"] + "+0800", shanghai).timestamp()) * 1_000_000,
                o["amount_minor"] - o.get("refunded_minor", 0),
                o["currency"],
            )
            for customer_no, o in truth.values()
            if _paid(o)
        ]
    )
    assert len(expected) > 150
    assert found == expected
    assert {row[-2] for row in found.values()} == {"high", "middle", "low", "lapsed"}
