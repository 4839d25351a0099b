"""What the CRM comes to know of simulated persons, revision by revision, with the slips of clerks and forms."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from pipelines.simulation import habits
from pipelines.simulation.households import Held, Person, Span, phone_number
from pipelines.simulation.identifier_lives import SWITCHBOARD
from pipelines.simulation.identity_rates import DAY_US, Rates
from pipelines.simulation.slips import Slips, wechat_ids

_EARLIER_US = 3 * 365 * DAY_US  # how long before the span the oldest customers registered
_TEST_RECORDS = 10


@dataclass(slots=True)
class Crm:
    """Rows of revisions as they are exported (without truth), and what contacts need to know of registrations."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    #: customer_no → (person number, trap)
    truth: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: person number → [(member number, since)]
    members: dict[int, list[tuple[str, int]]] = field(default_factory=dict)


def register(
    seed: int, everybody: list[Person], tester: Person, slips: Slips, rates: Rates, span: Span, traps: dict[str, str]
) -> Crm:
    """Registers persons in the order of time, so that neighbours in time have neighbouring member numbers."""
    chance = random.Random(f"{seed}/{len(everybody)}/crm")  # noqa: S311
    planned = []
    for person in everybody:
        if person.registers == "no":
            continue
        first_us = span.start_us - chance.randrange(_EARLIER_US)
        if chance.random() >= rates.registered_before:
            first_us = chance.randint(span.start_us, span.end_us - 1)
        planned.append((first_us, person, False))
        if chance.random() < rates.duplicate_records:
            planned.append((chance.randint(max(first_us, span.start_us), span.end_us - 1), person, True))
            person.trap = "duplicate_record" if person.trap in ("plain", "changed_phone") else person.trap
    crm = Crm()
    for at_us, person, again in sorted(planned, key=lambda entry: (entry[0], entry[1].number)):
        _Record(chance, crm, person, slips, rates, span, traps).write(at_us, again)
    for n in range(_TEST_RECORDS):
        at_us = span.start_us + n * DAY_US
        row = _empty(f"C{len(crm.truth) + 1:08d}", at_us) | {"member_number": f"T{n + 1:07d}", "name": f"测试{n + 1}"}
        crm.rows.append(row | {"phone": tester.at("phone", at_us), "phone_verified": True, "phone_verified_at": at_us})
        crm.truth[row["customer_no"]] = (tester.number, "test_account")
    return crm


def _empty(customer_no: str, at_us: int) -> dict[str, Any]:
    verified = {"phone_verified": False, "email_verified": False}
    return {"customer_no": customer_no, "revision": 0, "updated_at": at_us} | verified


class _Record:
    """One CRM customer: its registration and its revisions."""

    def __init__(
        self,
        chance: random.Random,
        crm: Crm,
        person: Person,
        slips: Slips,
        rates: Rates,
        span: Span,
        traps: dict[str, str],
    ) -> None:
        self._chance, self._crm, self._person, self._slips = chance, crm, person, slips
        self._rates, self._span, self._traps = rates, span, traps
        self._trap: str | None = None

    def write(self, at_us: int, again: bool) -> None:
        chance, crm, person = self._chance, self._crm, self._person
        way = habits.way_of_registration(chance, person, self._rates)
        number = len(crm.truth) + 1
        member = f"M{10_000_000 + number}"
        row = _empty(f"C{number:08d}", at_us) | {"member_number": member, "registered_by": way}
        row |= self._who(way, again) | self._phone(way, at_us)
        if way == "mini_program" or (person.registers == "without_phone" and way != "store"):
            row["unionid"] = wechat_ids(person.at("wechat", at_us))["unionid"]
        if habits.gives_email(chance, person, way, self._rates):
            row |= {"email": person.at("email", at_us), "email_verified": chance.random() < 0.5}
        crm.members.setdefault(person.number, []).append((member, at_us))
        crm.rows.append(row)
        for revised_us, change in sorted(self._later(row, at_us), key=lambda revision: revision[0]):
            row = row | change | {"updated_at": revised_us, "revision": row["revision"] + 1}
            crm.rows.append(row)
        known = [self._traps[row[name]] for name in ("phone", "email") if row.get(name) in self._traps]
        crm.truth[row["customer_no"]] = (person.number, self._trap or (known[0] if known else person.trap))

    def _who(self, way: str, again: bool) -> dict[str, Any]:
        """Name, birth date and address as given; a second registration is filled in with less care."""
        chance, person = self._chance, self._person
        slip = 0.15 if again else self._rates.typing_error
        who = {"name": person.name, "birth_date": person.birth_date, "gender": person.gender}
        who |= {"region": person.region, "address": person.address if chance.random() < 0.7 else None}
        if chance.random() < slip:
            who["name"] = self._slips.letter(person.name)
        if chance.random() < slip:
            who["birth_date"] = self._slips.digit(person.birth_date, at_least=9)
        if way == "store" and chance.random() < 0.3:
            who["national_id"] = person.national_id
            if chance.random() < slip:
                who["national_id"] = self._slips.digit(person.national_id[:17]) + person.national_id[17]
        return who

    def _phone(self, way: str, at_us: int) -> dict[str, Any]:
        chance, person = self._chance, self._person
        if person.registers == "without_phone":
            return {}
        phone, verified = person.at("phone", at_us), True
        if person.behind_switchboard and chance.random() < self._rates.switchboard_in_crm:
            phone, verified = SWITCHBOARD, chance.random() < 0.1  # confirmed by a call back to the office
        elif way == "store":
            phone, self._trap = self._slips.typed_phone(phone, chance.randrange(self._rates.stores), at_us)
            # The clerk reads the SMS code on his own phone as well as the customer does.
            verified = chance.random() < {None: 0.5, "clerk_phone": 0.3}.get(self._trap, 0.0)
        return {"phone": phone, "phone_verified": verified, "phone_verified_at": at_us if verified else None}

    def _later(self, row: dict[str, Any], at_us: int) -> list[tuple[int, dict[str, Any]]]:
        """Revisions: WeChat bound, a new number told."""
        chance, person, rates, ends = self._chance, self._person, self._rates, self._span.end_us
        revisions: list[tuple[int, dict[str, Any]]] = []
        if row.get("unionid") is None and habits.binds_wechat(chance, person, rates):
            bound_us = chance.randint(max(at_us, self._span.start_us), ends - 1)
            revisions.append((bound_us, {"unionid": wechat_ids(person.at("wechat", bound_us))["unionid"]}))
        for held in person.holds["phone"]:
            if held.from_us > at_us and row.get("phone") is not None and chance.random() < rates.tells_new_phone:
                told_us = held.from_us + int(chance.expovariate(1 / (rates.tells_after_days * DAY_US)))
                if told_us < min(held.to_us, ends):
                    sure = chance.random() < 0.8
                    new = {"phone": held.value, "phone_verified": sure}
                    revisions.append((told_us, new | {"phone_verified_at": told_us if sure else None}))
        return revisions


def tester_of(number: int, span: Span) -> Person:
    """The contact centre's own test account: to the platforms a person like any other."""
    tester = Person(number, -1, "测试", "男", "1990-01-01", "", "上海", "", "test_account", "full")
    for kind, value in {
        "phone": phone_number(number),
        "app": f"u-{number:07d}-1",
        "visitor": f"v-{number:07d}-1",
        "wechat": f"TEST{number:07d}A",
        "email": f"test{number}@example.org",
    }.items():
        tester.holds[kind] = [Held(value, 0, span.end_us)]
    return tester
