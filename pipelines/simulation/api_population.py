"""What simulated source systems hold and how it changes: created, changed, deleted, late, ahead of time, drifted.

Seeded; the truth is kept beside: which revision of which record was current when.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipelines.connectors.pages import written
from pipelines.connectors.resources import RESOLUTION_US, DeletedList, KeyComparison, Resource, Tombstones
from pipelines.simulation.people import customer

_US, _DAY_US = 1_000_000, 86_400_000_000
# Shares of the changes; the rest are changes of a record that is there.
CREATED, DELETED, BULK, LATE, AHEAD, DRIFTED = 0.25, 0.12, 0.04, 0.05, 0.03, 0.06
_TICKET_STATES = ("New", "Active", "Awaiting user", "Resolved", "Closed")
_ORDER_STATES = ("paid", "shipped", "completed", "cancelled")
Fields = dict[str, Any]


@dataclass
class Row:
    """A record as the source holds it; ``value`` are the bytes its API gives away."""

    key: str
    fields: Fields
    changed_us: int
    revision: int
    value: bytes = b""


@dataclass
class Population:
    """The records of one resource. ``now_us`` is the source's own clock; whoever serves moves it."""

    resource: Resource
    seed: int
    now_us: int
    rows: dict[str, Row] = field(default_factory=dict)
    #: Keys deleted without a word.
    vanished: dict[str, bytes] = field(default_factory=dict)
    #: Every value ever given out or ready to be.
    ever: set[bytes] = field(default_factory=set)
    made: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed}/{self.resource.name}")  # noqa: S311
        self.unit_us = RESOLUTION_US[self.resource.cursor.form]
        #: Where a deletion is told: another resource's rows.
        self.deleted: Population | None = None
        #: The other way round: whose deletions these rows are.
        self.told_by: Population | None = None

    def fill(self, count: int, days: int = 30) -> None:
        """``count`` records changed within the last ``days``, among them more of one instant than a page holds."""
        for _ in range(count):
            self._create(self.now_us - self.chance.randrange(days * _DAY_US))
        self._bulk(self.now_us - self.chance.randrange(_DAY_US))

    def matching(self, since_us: int | None) -> list[Row]:
        """Rows changed at or after an instant, oldest change first."""
        found = [row for row in self.rows.values() if since_us is None or row.changed_us >= since_us]
        return sorted(found, key=lambda row: (row.changed_us, row.key))

    def change(self, times: int, *, bulk: bool = True) -> None:
        """So many things happen, now by the source's clock; ``bulk`` statements among them where they may."""
        for _ in range(times):
            dice = self.chance.random()
            if CREATED + DELETED <= dice < CREATED + DELETED + BULK and not bulk:
                dice = 1.0
            if dice < CREATED or not self.rows:
                self._create(self.now_us)
            elif dice < CREATED + DELETED:
                self._delete(self._any())
            elif dice < CREATED + DELETED + BULK:
                self._bulk(self.now_us)
            elif dice < CREATED + DELETED + BULK + LATE:
                # Committed late: its instant lies back by less than the overlap.
                self._create(self.now_us - int(self.chance.random() * 0.8 * self.resource.cursor.overlap_s * _US))
            elif dice < CREATED + DELETED + BULK + LATE + AHEAD:
                days = self.chance.choice((0.5, 4000))
                self._touch(self._any(), self.now_us + int(days * _DAY_US))
            else:
                self._touch(self._any(), self.now_us)

    def _any(self) -> Row:
        return self.rows[self.chance.choice(sorted(self.rows))]

    def _create(self, at_us: int) -> None:
        self.made += 1
        key = f"{self.resource.name[:3].upper()}{self.seed % 10_000:04d}{self.made:06d}"
        row = Row(key, _MAKERS[self.resource.channel](self.chance, key, self.made, at_us), 0, -1)
        self.rows[key] = row
        self._touch(row, at_us)

    def _touch(self, row: Row, at_us: int, **changed: Any) -> None:
        """A new revision. Two within one instant of the source's clock differ by their revision."""
        row.revision += 1
        row.changed_us = at_us // self.unit_us * self.unit_us
        row.fields |= changed or _CHANGES[self.resource.channel](self.chance, row.revision)
        cursor = self.resource.cursor
        said = written(cursor.form, row.changed_us)
        stated = int(said) if cursor.form.startswith("epoch") else said
        self._give(row, row.fields | {cursor.field: stated, "revision": row.revision})

    def _give(self, row: Row, fields: Fields) -> None:
        if self.chance.random() < DRIFTED and "deleted" not in fields:
            fields = _drifted(self.chance, fields, self.resource)
        row.value = orjson.dumps(fields)
        self.ever.add(row.value)

    def _bulk(self, at_us: int) -> None:
        """One statement touches more rows than a page holds: all of one instant."""
        while len(self.rows) < self.resource.page.size * 5 // 2:
            self._create(at_us)
        for key in self.chance.sample(sorted(self.rows), self.resource.page.size * 5 // 2):
            self._touch(self.rows[key], at_us)

    def _delete(self, row: Row) -> None:
        match self.resource.deletions:
            case Tombstones(field=name):
                self._touch(row, self.now_us, **{name: True})
            case KeyComparison() if self.deleted is not None and self.chance.random() < 0.5:
                del self.rows[row.key]
                told = Row(row.key, {"customer_no": row.key}, 0, row.revision)
                self.deleted.rows[row.key] = told
                self.deleted._touch(told, self.now_us, customer_no=row.key)
            case KeyComparison():
                del self.rows[row.key]
                self.vanished[row.key] = row.value
            case DeletedList():
                pass


def _drifted(chance: random.Random, fields: Fields, resource: Resource) -> Fields:
    """A new field, a required one that is gone, or one of another type."""
    how, required = chance.choice(("new", "missing", "type")), sorted(resource.required)
    if how == "new":
        return fields | {"loyalty_tier": "gold"}
    name = chance.choice(required)
    if how == "missing":
        return {one: value for one, value in fields.items() if one != name}
    return fields | {name: {"value": fields.get(name)}}


def _person(chance: random.Random, number: int) -> Any:
    return customer(chance.randrange(1000), number)


def _crm(chance: random.Random, key: str, number: int, at_us: int) -> Fields:
    person = _person(chance, number)
    fields = {"customer_no": key, "name": person.name, "phone": person.phone, "phone_verified": 1, "status": "active"}
    return fields | {"region": person.region, "birth_year": person.birth_year, "gender": person.gender}


def _ticket(chance: random.Random, key: str, number: int, at_us: int) -> Fields:
    at = written("iso", at_us)
    return {
        "event_id": key,
        "ticket_id": f"INC{number // 3:06d}",
        "state": "New",
        "occurred_at": at,
        "title": "无法登录",
    }


def _order(chance: random.Random, key: str, number: int, at_us: int) -> Fields:
    ordered_ms, amount = at_us // 1000, chance.randrange(100, 99_900)
    lines = [{"sku": f"{chance.randrange(500):04d}", "quantity": 1, "amount_minor": amount}]
    fields = {"order_id": key, "status": "paid", "ordered_at": ordered_ms, "paid_at": ordered_ms, "currency": "CNY"}
    return fields | {"amount_minor": amount, "lines": lines, "member_number": f"M{number:07d}"}


def _app(chance: random.Random, key: str, number: int, at_us: int) -> Fields:
    fields = {"event_id": key, "event": "feedback", "ts": at_us // 1000, "session_id": f"s{number // 4}"}
    return fields | {"user": {"member_no": f"M{number:07d}"}, "content": {"text": f"第{number}次反馈：页面打不开"}}


_MAKERS: dict[str, Callable[..., Fields]] = {"crm": _crm, "ticket_system": _ticket, "orders": _order, "app": _app}
_CHANGES: dict[str, Callable[[random.Random, int], Fields]] = {
    "crm": lambda chance, revision: {"member_level": f"V{chance.randrange(1, 7)}"},
    "ticket_system": lambda chance, revision: {"state": chance.choice(_TICKET_STATES)},
    "orders": lambda chance, revision: {"status": chance.choice(_ORDER_STATES)},
    "app": lambda chance, revision: {"outcome": chance.choice(("open", "answered"))},
}
