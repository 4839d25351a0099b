"""Which identifiers a person holds and until when: numbers change and are issued again, families share, devices die."""

from __future__ import annotations

import random
from itertools import groupby

from pipelines.simulation.households import Held, Person, Span, phone_number
from pipelines.simulation.identity_rates import DAY_US, Rates

#: A local number in China cannot begin with 1: nobody's, but it reads like a landline.
SWITCHBOARD = "0571-10000000"


def give(seed: int, everybody: list[Person], rates: Rates, span: Span) -> dict[str, str]:
    """Fills ``holds`` of each person; returns the identifiers that are a trap by themselves, with the trap's name.

    A WeChat account is one value here (a code): its unionid and openids follow from it. The order matters: numbers
    come first, because app accounts follow them, and what a family shares replaces what its members had.
    """
    chance = random.Random(f"{seed}/{len(everybody)}/lives")  # noqa: S311
    traps = _phones(chance, everybody, rates, span)
    for person in everybody:
        n, ends = person.number, span.end_us
        moved_us = ends if chance.random() >= rates.new_wechat_a_year * span.years else _instant(chance, span)
        person.holds["wechat"] = [Held(f"{seed % 1000:03d}{n:07d}A", 0, moved_us)]
        if moved_us < ends:
            person.holds["wechat"].append(Held(f"{seed % 1000:03d}{n:07d}B", moved_us, ends))
        person.holds["visitor"] = _visitors(chance, n, rates, span)
        person.holds["email"] = [Held(f"person{seed % 1000:03d}{n:07d}@example.org", 0, ends)]
        person.behind_switchboard = chance.random() < rates.switchboard
    traps[SWITCHBOARD] = "switchboard"
    _share(chance, everybody, rates, traps)
    return traps


def _instant(chance: random.Random, span: Span) -> int:
    return chance.randint(span.start_us, span.end_us - 1)


def _phones(chance: random.Random, everybody: list[Person], rates: Rates, span: Span) -> dict[str, str]:
    """Numbers from change to change, in the order of time, because a number given up is another's new one later."""
    traps: dict[str, str] = {}
    fresh = len(everybody)
    for person in everybody:
        person.holds["phone"] = [Held(phone_number(person.number), 0, span.end_us)]
        person.holds["app"] = [Held(f"u-{person.number:07d}-1", 0, span.end_us)]
    changes = [
        (_instant(chance, span), person)
        for person in everybody
        if chance.random() < rates.phone_change_a_year * span.years
    ]
    waiting: list[tuple[int, str, Person]] = []  # issued again from then on, the number, who gave it up
    for at_us, person in sorted(changes, key=lambda change: (change[0], change[1].number)):
        old = person.holds["phone"][-1]
        number, before = next(((n, p) for ready, n, p in waiting if ready <= at_us), (None, None))
        if number is None:
            number, fresh = phone_number(fresh), fresh + 1
        else:
            waiting = [entry for entry in waiting if entry[1] != number]
            traps[number] = "recycled_number"
        person.holds["phone"] = [*person.holds["phone"][:-1], old._replace(to_us=at_us), Held(number, at_us, old.to_us)]
        if person.trap == "plain":
            person.trap = "changed_phone"
        _app_account(chance, person, before, at_us, rates, traps)
        if chance.random() < rates.reissued_to_customer:
            waiting.append((at_us + int(_quiet_days(chance, rates) * DAY_US), old.value, person))
    return traps


def _quiet_days(chance: random.Random, rates: Rates) -> float:
    if chance.random() < rates.early_reissue:
        return chance.uniform(10, rates.quiet_days - 1)
    return rates.quiet_days + chance.expovariate(1 / rates.reissue_mean_days)


def _app_account(
    chance: random.Random, person: Person, before: Person | None, at_us: int, rates: Rates, traps: dict[str, str]
) -> None:
    """What a change of number does to the app account: bound anew (nothing), a second one, or somebody else's."""
    app = person.holds["app"]
    if before is not None and len(before.holds["app"]) > 1 and chance.random() < rates.inherited_app_account:
        handle = before.holds["app"][-2].value
        traps[handle] = "recycled_number"
    elif chance.random() < rates.second_app_account:
        handle = f"u-{person.number:07d}-{len(app) + 1}"
    else:
        return
    person.holds["app"] = [*app[:-1], app[-1]._replace(to_us=at_us), Held(handle, at_us, app[-1].to_us)]


def _visitors(chance: random.Random, number: int, rates: Rates, span: Span) -> list[Held]:
    visitors, from_us = [], 0
    while from_us < span.end_us:
        lives_us = int(chance.expovariate(1 / (rates.visitor_days * DAY_US)))
        to_us = min(span.end_us, max(from_us, span.start_us) + lives_us + DAY_US)
        visitors.append(Held(f"v-{number:07d}-{len(visitors) + 1}", from_us, to_us))
        from_us = to_us
    return visitors


def _share(chance: random.Random, everybody: list[Person], rates: Rates, traps: dict[str, str]) -> None:
    """Phone, mailbox or browser of the householder become another member's too."""
    for _, group in groupby(everybody, key=lambda person: person.household):
        holder, *others = group
        if not others:
            continue
        if chance.random() < rates.family_phone:
            users = others if chance.random() < 0.25 else [chance.choice(others)]
            for user in users:
                user.trap = "family_phone"
                user.holds["phone"] = holder.holds["phone"]
            traps |= {held.value: "family_phone" for held in holder.holds["phone"]}
        if chance.random() < rates.shared_email:
            others[0].holds["email"] = holder.holds["email"]
            traps[holder.holds["email"][0].value] = "shared_email"
        if chance.random() < rates.shared_device:
            others[0].holds["visitor"] = holder.holds["visitor"]
            traps |= {held.value: "shared_device" for held in holder.holds["visitor"]}
