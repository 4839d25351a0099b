"""Contacts of simulated persons, each with the identifiers that its channel's parser would find in the message."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pipelines.simulation.habits import CHANNELS, LIKING
from pipelines.simulation.households import Person, Span
from pipelines.simulation.identifier_lives import SWITCHBOARD
from pipelines.simulation.identity_rates import DAY_US, Rates
from pipelines.simulation.registrations import Crm
from pipelines.simulation.slips import Slips, wechat_ids

#: The second official account was bound to the open platform only then: before, its messages carry no unionid.
_SECOND_ACCOUNT_BOUND_DAYS = 240
Found = dict[str, Any]


class Contacts:
    """Makes contacts from one source of chance; ``rows`` of one contact each, columns as `identity_world.CONTACTS`."""

    def __init__(self, seed: int, crm: Crm, slips: Slips, rates: Rates, span: Span, traps: dict[str, str]) -> None:
        self._chance = random.Random(f"{seed}/contacts")  # noqa: S311
        self._crm, self._slips, self._rates, self._span, self._traps = crm, slips, rates, span, traps
        self._issued = len(crm.truth)
        self._second_bound_us = span.start_us + _SECOND_ACCOUNT_BOUND_DAYS * DAY_US
        self._found: dict[str, Callable[[Person, int], Found]] = {name: getattr(self, f"_{name}") for name in CHANNELS}

    def of(self, person: Person) -> list[Found]:
        """The contacts of one person over the span, on the channels this person likes."""
        chance, rates = self._chance, self._rates
        known = person.registers != "no"
        mean = (rates.contacts_registered if known else rates.contacts_other) * self._span.years / 2
        count = 1 + int(chance.expovariate(1 / max(0.5, mean - 0.5)))
        return [
            self._one(person, channel, chance.randint(self._span.start_us, self._span.end_us - 1))
            for channel in chance.choices(person.liked, LIKING[: len(person.liked)], k=count)
        ]

    def _one(self, person: Person, channel: str, at_us: int) -> Found:
        found = self._found[channel](person, at_us)
        if "trap" not in found:
            carried = (found.get(name) for name in ("phone", "user_handle", "email"))
            marks = [self._traps[value] for value in carried if value in self._traps]
            found["trap"] = marks[0] if marks else person.trap
        return found | {"channel": channel, "occurred_at": at_us, "person": person.number}

    def _member(self, person: Person, at_us: int) -> str | None:
        """A member number in force: with two CRM records either may be the one at hand."""
        issued = [member for member, since_us in self._crm.members.get(person.number, ()) if since_us <= at_us]
        return self._chance.choice(issued) if issued else None

    def _wechat(self, person: Person, at_us: int) -> Found:
        """openid of one of two official accounts; the collector asks for the unionid, which fails now and then."""
        ids, second = wechat_ids(person.at("wechat", at_us)), person.second_account
        bound = not second or at_us >= self._second_bound_us
        unionid = ids["unionid"] if bound and self._chance.random() < 0.97 else None
        return {"openid": ids["openid_b" if second else "openid_a"], "unionid": unionid}

    def _mini_program(self, person: Person, at_us: int) -> Found:
        ids = wechat_ids(person.at("wechat", at_us))
        found: Found = {"openid": ids["mini_openid"]}
        if self._chance.random() < 0.97:
            found["unionid"] = ids["unionid"]
        if person.authorised and self._chance.random() < 0.3:
            found |= {"phone": person.at("phone", at_us), "phone_attested": True}
        return found

    def _wecom(self, person: Person, at_us: int) -> Found:
        """external_userid; the unionid only where the platform's contact query gives it."""
        ids = wechat_ids(person.at("wechat", at_us))
        unionid = ids["unionid"] if self._chance.random() < 0.6 else None
        return {"external_userid": ids["external_userid"], "unionid": unionid}

    def _app(self, person: Person, at_us: int) -> Found:
        """The account; the number after a login by SMS code, the member number where the session has one."""
        chance = self._chance
        found: Found = {"user_handle": person.at("app", at_us)}
        if chance.random() < 0.35:
            found |= {"phone": person.at("phone", at_us), "phone_attested": True}
        if person.signs_in and found["user_handle"] not in self._traps:
            member = self._member(person, at_us)
            found |= {"member_number": member, "member_attested": member is not None}
        return found

    def _phone(self, person: Person, at_us: int) -> Found:
        chance = self._chance
        if chance.random() < 0.01:  # number withheld
            return {}
        at_work = person.behind_switchboard and chance.random() < self._rates.switchboard_calls
        return {"phone": SWITCHBOARD if at_work else person.at("phone", at_us), "phone_attested": True}

    def _sms(self, person: Person, at_us: int) -> Found:
        return {"phone": person.at("phone", at_us), "phone_attested": True}

    def _email(self, person: Person, at_us: int) -> Found:
        return {"email": person.at("email", at_us)}

    def _store(self, person: Person, at_us: int) -> Found:
        """Typed by hand: the member number, the phone, both or neither; at the one store the person goes to."""
        chance, found, trap = self._chance, {}, None
        member = self._member(person, at_us)
        if member is not None and chance.random() < 0.6:
            found["member_number"], trap = self._slips.typed_member(member, self._issued)
        if chance.random() < 0.7:
            found["phone"], slip = self._slips.typed_phone(
                person.at("phone", at_us), person.household % self._rates.stores, at_us
            )
            trap = trap or slip
        return found if trap is None else found | {"trap": trap}

    def _web_chat(self, person: Person, at_us: int) -> Found:
        """The browser's visitor ID unless cookies are refused; signed in, or a number typed into the form before it."""
        chance, found = self._chance, {}
        if chance.random() < 0.97:
            found["user_handle"] = person.at("visitor", at_us)
        member = self._member(person, at_us) if person.signs_in else None
        if member is not None and chance.random() < 0.8:
            return found | {"member_number": member, "member_attested": True}
        if chance.random() < 0.45:
            found["phone"], trap = self._slips.typed_phone(person.at("phone", at_us), None, at_us)
            return found if trap is None else found | {"trap": trap}
        return found

    def of_tester(self, tester: Person) -> list[Found]:
        """The test account at work: agents try the app and the site with the member numbers of real customers."""
        chance, span = self._chance, self._span
        members = sorted(member for issued in self._crm.members.values() for member, _ in issued)
        borrowed = chance.sample(members, min(len(members), self._rates.test_members))
        rows = []
        for n in range(self._rates.test_contacts if borrowed else 0):
            channel, at_us = ("app", "web_chat")[n % 2], chance.randint(span.start_us, span.end_us - 1)
            found: Found = {"user_handle": tester.at("app" if channel == "app" else "visitor", at_us)}
            if n % 4 == 0:
                found |= {"phone": tester.at("phone", at_us), "phone_attested": channel == "app"}
            if n % 4:
                found["member_number"] = borrowed[n % len(borrowed)]
            found |= {"channel": channel, "occurred_at": at_us, "person": tester.number, "trap": "test_account"}
            rows.append(found)
        return rows
