"""CRM records and orders of simulated people: parsers read what the truth says, and the people are the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Reject
from pipelines.simulation import crm
from pipelines.simulation.orders import orders
from pipelines.simulation.people import customer
from pipelines.simulation.source_records import crm_records

UNTIL_AT = datetime(2026, 7, 1, tzinfo=UTC)
UNTIL_US = int(UNTIL_AT.timestamp() * 1_000_000)
PEOPLE = 1_500


@pytest.fixture(scope="module")
def bought():
    return orders(11, PEOPLE, UNTIL_AT)


@pytest.fixture(scope="module")
def base():
    return crm_records(11, PEOPLE, UNTIL_AT)


def read(message):
    return PARSERS[message.topic.removeprefix("raw.")](message.value, "default", UNTIL_US)


@pytest.mark.parametrize("source", ["bought", "base"])
def test_parsers_find_what_the_truth_says(source, request):
    seen = set()
    for message in request.getfixturevalue(source):
        found = read(message)
        assert isinstance(found, Reject) == (message.expect == "rejected"), found
        assert (message.value in seen) == (message.expect == "duplicate")
        seen.add(message.value)
        assert message.updated_us < UNTIL_US


def test_the_customer_base_says_what_the_crm_file_says(base):
    first = {}
    for message in base:
        first.setdefault(message.customer_no, orjson.loads(message.value))
    rows = {row["customer_no"]: row for row in crm.rows(11, PEOPLE)}
    assert set(first) == set(rows)
    for number, record in first.items():
        stated = {name: value for name, value in rows[number].items() if value != ""}
        stated["birth_year"] = int(stated["birth_year"])
        assert stated.items() <= record.items()


def test_orders_belong_to_the_same_people(bought):
    people = {customer(11, n).customer_no: customer(11, n) for n in range(PEOPLE)}
    for message in bought[:2_000]:
        found, person = read(message), people[message.customer_no]
        if isinstance(found, Reject):
            continue
        known = {found.phone, found.member_number, found.unionid, found.openid} - {None}
        assert known <= {person.phone, person.member_number, person.unionid, person.mini_openid}


def test_repeat_purchase_is_plausible(bought):
    """Some never buy, many once or twice, few often; the best fifth of buyers brings well over half of the money."""
    newest = {}
    for message in bought:
        if message.expect == "kept":
            order = orjson.loads(message.value)
            newest[order["order_id"]] = (message.customer_no, order)
    paid = [(c, o) for c, o in newest.values() if "paid_at" in o and o["status"] != "cancelled"]
    each = Counter(c for c, _ in paid)
    spent = Counter()
    for c, o in paid:
        spent[c] += o["amount_minor"] - o.get("refunded_minor", 0)
    assert 0.6 * PEOPLE < len(each) < 0.75 * PEOPLE
    assert sum(n == 1 for n in each.values()) > 0.15 * len(each)
    assert sum(n >= 5 for n in each.values()) > 0.15 * len(each)
    best = sorted(spent.values(), reverse=True)[: len(each) // 5]
    assert 0.5 < sum(best) / sum(spent.values()) < 0.9
    assert {o["status"] for _, o in newest.values()} == {
        "placed", "paid", "completed", "cancelled", "refunded", "partly_refunded",
    }  # fmt: skip
