"""Simulated orders of the same people: some never buy, some once, some for years; payments and refunds as revisions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime

from pipelines.simulation.clock import local
from pipelines.simulation.people import Customer, customer
from pipelines.simulation.source_records import DAY_US, SourceMessage, message, with_dirt

CATEGORIES = ("家电", "数码", "服饰", "食品", "美妆", "母婴", "家居", "图书")
SHOPS = ("app", "mini_program", "tmall", "store")
BUYERS_SHARE = 0.7
# Repeat purchase as in the usual models: rates differ by a gamma distribution (mean one order in 45 days, a few much
# more), each order may be the customer's last, and what a person spends is log-normal round a level of their own.
RATE_SHAPE, RATE_MEAN_PER_DAY, LAST_ORDER_SHARE = 0.8, 1 / 45, 0.12
_MOST_ORDERS = 400


def orders(seed: int, customers: int, until_at: datetime, *, days: int = 540) -> list[SourceMessage]:
    """All revisions of all orders of the last ``days`` before ``until_at``, oldest change first.

    >>> from datetime import UTC
    >>> made = orders(7, 20, datetime(2026, 1, 9, tzinfo=UTC))
    >>> made == orders(7, 20, datetime(2026, 1, 9, tzinfo=UTC)), {m.topic for m in made}
    (True, {'raw.orders'})
    """
    until_us = int(until_at.timestamp() * 1_000_000)
    made = [m for number in range(customers) for m in _of_one(seed, number, until_us, days)]
    return sorted(made, key=lambda one: (one.updated_us, one.key))  # stable: a retry stays behind its record


def _of_one(seed: int, number: int, until_us: int, days: int) -> Iterator[SourceMessage]:
    chance = random.Random(f"{seed}/{number}/orders")  # noqa: S311
    if chance.random() >= BUYERS_SHARE:
        return
    person = customer(seed, number)
    per_day = chance.gammavariate(RATE_SHAPE, RATE_MEAN_PER_DAY / RATE_SHAPE)
    level, favourite = chance.gauss(9.2, 0.7), chance.choice(CATEGORIES)  # e^9.2 fen are 99 yuan
    shops = chance.sample(SHOPS, chance.choice((1, 1, 2)))
    at_us = until_us - chance.randrange(days * DAY_US)
    for nth in range(_MOST_ORDERS):
        order = _order(chance, person, nth, at_us, level, favourite, chance.choice(shops))
        yield from _revisions(chance, person, order, at_us, until_us)
        at_us += int(chance.expovariate(max(per_day, 1e-4)) * DAY_US)
        if at_us >= until_us or chance.random() < LAST_ORDER_SHARE:
            return


def _order(
    chance: random.Random, person: Customer, nth: int, at_us: int, level: float, favourite: str, shop: str
) -> dict:
    lines = []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3))):
        category = favourite if chance.random() < 0.6 else chance.choice(CATEGORIES)
        amount = max(100, round(chance.lognormvariate(level, 0.5)))
        sku = f"{CATEGORIES.index(category):02d}{chance.randrange(500):04d}"
        lines.append({"sku": sku, "category": category, "quantity": chance.choice((1, 1, 2)), "amount_minor": amount})
    order = {"order_id": f"SO{person.customer_no[1:]}{nth:04d}", "status": "placed", "ordered_at": local(at_us)}
    order |= {"currency": "CNY", "amount_minor": sum(line["amount_minor"] for line in lines), "lines": lines}
    return order | {"shop": shop} | _buyer(shop, person)


def _buyer(shop: str, person: Customer) -> dict[str, str]:
    """How each shop knows its buyers."""
    if shop == "mini_program":
        return {"openid": person.mini_openid, "unionid": person.unionid}
    if shop == "tmall":
        return {"buyer_id": f"tb-{person.customer_no}", "phone": person.phone}
    return {"member_number": person.member_number, "phone": person.phone}


def _revisions(
    chance: random.Random, person: Customer, order: dict, at_us: int, until_us: int
) -> Iterator[SourceMessage]:
    """Placed or paid, then completed, cancelled or refunded; what lies past the end has not happened yet."""
    paid_us = at_us + chance.randrange(20, 900) * 1_000_000
    if chance.random() < 0.04:  # never paid, closed by the system after a day
        states = [(at_us, {}), (at_us + DAY_US, {"status": "cancelled"})]
    else:
        states = [(paid_us, {"status": "paid", "paid_at": local(paid_us)})]
        states.append((paid_us + chance.randrange(2, 8) * DAY_US, {"status": "completed"}))
        if chance.random() < 0.07:
            whole = chance.random() < 0.5
            refunded = order["amount_minor"] if whole else order["lines"][0]["amount_minor"] // 2
            status = "refunded" if whole else "partly_refunded"
            refund = {"status": status, "refunded_minor": refunded}
            states.append((states[-1][0] + chance.randrange(1, 14) * DAY_US, refund))
    known = order
    for revision, (changed_us, change) in enumerate(states):
        if changed_us >= until_us:
            return
        known = known | change | {"revision": revision, "updated_at": local(changed_us)}
        clean = message("raw.orders", person.customer_no, known, changed_us, key=known["order_id"])
        yield from with_dirt(chance, clean, drop="amount_minor")
