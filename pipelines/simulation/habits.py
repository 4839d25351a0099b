"""Which channels a simulated person likes, and whether and how this person registers: one follows the other."""

from __future__ import annotations

import random

from pipelines.simulation.households import Person
from pipelines.simulation.identity_rates import Rates

# Share of persons by channel they prefer. No live rooms and social media: their handles meet no other identifier, so
# they would add contacts that nothing can place, alike for every resolver.
CHANNELS = {
    "phone": 22,
    "wechat": 16,
    "mini_program": 14,
    "app": 18,
    "wecom": 8,
    "store": 10,
    "web_chat": 12,
    "sms": 6,
    "email": 3,
}
#: The second channel is used half as often as the first, and so on.
LIKING = (1.0, 0.5, 0.33, 0.25)
_HOW_MANY = (0.35, 0.35, 0.2, 0.1)  # registered persons use 1, 2, 3 or 4 channels
_HOW_MANY_OTHERS = (0.8, 0.2)
WAYS = ("mini_program", "app", "store", "web_chat")
_WECHAT = {"wechat", "mini_program", "wecom"}


def form(seed: int, everybody: list[Person], rates: Rates) -> None:
    """Fills in ``registers``, ``liked`` and the habits of each person."""
    chance = random.Random(f"{seed}/{len(everybody)}/habits")  # noqa: S311
    for person in everybody:
        person.registers = _registers(chance, person, rates)
        known = person.registers != "no"
        how_many = 1 + chance.choices(range(4 if known else 2), _HOW_MANY if known else _HOW_MANY_OTHERS)[0]
        liked: list[str] = []
        while len(liked) < how_many:
            channel = chance.choices(list(CHANNELS), list(CHANNELS.values()))[0]
            if channel not in liked:
                liked.append(channel)
        person.liked = tuple(liked)
        person.second_account = chance.random() < 0.2
        person.authorised = chance.random() < 0.5
        person.signs_in = known and chance.random() < 0.55


def _registers(chance: random.Random, person: Person, rates: Rates) -> str:
    if person.trap == "family_phone":
        return chance.choices(("full", "without_phone", "no"), rates.family_phone_registers)[0]
    return "full" if chance.random() < rates.registered else "no"


def way_of_registration(chance: random.Random, person: Person, rates: Rates) -> str:
    """Mostly where the person is anyway: who likes the app registers in the app; else by the general shares."""
    likely = [channel for channel in person.liked if channel in WAYS]
    if likely and chance.random() < rates.registers_where_liked:
        return likely[0]
    return chance.choices(WAYS, rates.registration_ways)[0]


def binds_wechat(chance: random.Random, person: Person, rates: Rates) -> bool:
    """Whether a person who registered elsewhere binds WeChat later: those who write there are asked to."""
    return chance.random() < (rates.binds_wechat if _WECHAT & set(person.liked) else rates.binds_wechat_unused)


def gives_email(chance: random.Random, person: Person, way: str, rates: Rates) -> bool:
    """Whether an e-mail address is given at registration."""
    if way == "web_chat":
        return True
    return chance.random() < (rates.gives_email_used if "email" in person.liked else rates.gives_email)
