"""Real persons in households: who they are, with whom they live, which hard case they are: where identity begins."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.privacy.normalise import check_digit
from pipelines.simulation.identity_rates import DAY_US, Rates
from pipelines.simulation.people import REGIONS

# Frequent surnames with weights, as in the ministry's yearly report: 王 李 张 刘 陈 cover about 30 % of all.
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余"
_SURNAME_WEIGHTS = [72, 71, 68, 54, 46, 31, 23, 22, 21, 20] + [14] * 10 + [9] * 20
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰红建文辉力鑫宇浩然子涵梓轩欣怡雨萱思博雅婷佳琪志国海燕"
_STREETS = ("中山路", "人民路", "解放路", "建设路", "和平路", "新华路", "文化路", "长江路")
#: 154 is allocated to nobody in China: synthetic, and spread so thin that a slip of a digit meets no other customer.
_PHONE_PREFIX = "154"
_PHONE_STEP, _PHONE_SPACE = 7_654_321, 100_000_000  # without a common divisor: every number once


class Held(NamedTuple):
    """An identifier in somebody's hands from one instant to another (microseconds UTC, the end not included)."""

    value: str
    from_us: int
    to_us: int


@dataclass(slots=True)
class Person:
    """One real person. ``holds`` says, per kind (phone, wechat, app, visitor, email), what was theirs and when."""

    number: int
    household: int
    name: str
    gender: str
    birth_date: str
    national_id: str
    region: str
    address: str
    trap: str = "plain"
    registers: str = "no"  # no | full | without_phone
    holds: dict[str, list[Held]] = field(default_factory=dict)
    behind_switchboard: bool = False
    # Habits, see `habits.form`: channels by liking; which official account; phone shown to the mini program; signs in.
    liked: tuple[str, ...] = ()
    second_account: bool = False
    authorised: bool = False
    signs_in: bool = False

    def at(self, kind: str, at_us: int) -> str | None:
        """The identifier of that kind in the person's hands at that instant.

        >>> person = Person(0, 0, "", "", "", "", "", "", holds={"phone": [Held("a", 0, 5), Held("b", 5, 9)]})
        >>> person.at("phone", 4), person.at("phone", 5), person.at("phone", 9), person.at("email", 1)
        ('a', 'b', None, None)
        """
        for held in self.holds.get(kind, ()):
            if held.from_us <= at_us < held.to_us:
                return held.value
        return None


@dataclass(slots=True)
class Span:
    """The time a world covers, in microseconds UTC."""

    start_us: int
    end_us: int

    @property
    def years(self) -> float:
        """Its length in years of 365 days."""
        return (self.end_us - self.start_us) / (365 * DAY_US)


def phone_number(n: int) -> str:
    """The n-th synthetic mobile number.

    >>> phone_number(0), phone_number(1), len({phone_number(n) for n in range(5000)})
    ('15400000000', '15407654321', 5000)
    """
    return f"{_PHONE_PREFIX}{n * _PHONE_STEP % _PHONE_SPACE:08d}"


class _Registry:
    """Gives each birth its national ID: the next odd (male) or even (female) number of the day, births of 1900 to 1909.

    The year keeps its last digit only, so that no number is a living person's (as in `people`).
    """

    def __init__(self) -> None:
        self._given: Counter[tuple[str, str]] = Counter()

    def issue(self, birth_date: str, gender: str) -> str:
        day = "190" + birth_date[3] + birth_date[5:7] + birth_date[8:]
        self._given[day, gender] += 1
        sequence = 2 * self._given[day, gender] - (1 if gender == "男" else 0)
        body = f"110101{day}{sequence:03d}"
        return body + check_digit(body)


def people(seed: int, persons: int, rates: Rates) -> list[Person]:
    """``persons`` persons in households, without any identifier yet; twins and namesakes are marked.

    Twins have one surname, birth date, address and gender, and national IDs that differ in the running number (and
    so in the check digit). Namesakes are strangers with one name, birth date and gender.
    """
    chance, registry = random.Random(f"{seed}/{persons}/households"), _Registry()  # noqa: S311
    everybody: list[Person] = []
    twins_wanted = round(persons * rates.twins / 2)
    household = 0
    while len(everybody) < persons:
        size = 1 + chance.choices(range(len(rates.household_weights)), rates.household_weights)[0]
        size = min(size, persons - len(everybody))
        members = _household(chance, registry, household, len(everybody), size)
        if size > 1 and twins_wanted:
            twins_wanted -= 1
            _make_twins(chance, registry, members[-2], members[-1])
        everybody += members
        household += 1
    _make_namesakes(chance, registry, everybody, round(persons * rates.namesakes / 2))
    return everybody


def _household(chance: random.Random, registry: _Registry, household: int, first: int, size: int) -> list[Person]:
    """A couple and their children or parents: the first is the householder."""
    region = chance.choice(REGIONS)
    street, house = chance.choice(_STREETS), chance.randint(1, 999)
    address = f"{street}{house}号{chance.randint(1, 30)}栋{chance.randint(101, 3205)}室"
    family = chance.choices(_SURNAMES, _SURNAME_WEIGHTS)[0]
    year = chance.randint(1955, 2003)
    members = []
    for place in range(size):
        surname = chance.choices(_SURNAMES, _SURNAME_WEIGHTS)[0] if place == 1 else family
        born = year + (0 if place == 0 else chance.randint(-3, 3) if place == 1 else chance.choice((-26, 26)))
        gender = chance.choice("男女")
        birth_date = f"{max(1935, min(2010, born))}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
        number, name = first + place, surname + _given_name(chance)
        issued = registry.issue(birth_date, gender)
        members.append(Person(number, household, name, gender, birth_date, issued, region, address))
    return members


def _given_name(chance: random.Random) -> str:
    return "".join(chance.choices(_GIVEN, k=1 if chance.random() < 0.15 else 2))


def _make_twins(chance: random.Random, registry: _Registry, one: Person, other: Person) -> None:
    """The second becomes the first's twin; half of the pairs share a character of the given name too."""
    given = one.name[1] + chance.choice(_GIVEN) if chance.random() < 0.5 else _given_name(chance)
    other.name, other.gender, other.birth_date = one.name[0] + given, one.gender, one.birth_date
    other.national_id = registry.issue(other.birth_date, other.gender)
    one.trap = other.trap = "twins"


def _make_namesakes(chance: random.Random, registry: _Registry, everybody: list[Person], pairs: int) -> None:
    plain = [person for person in everybody if person.trap == "plain"]
    for one, other in zip(*[iter(chance.sample(plain, min(2 * pairs, len(plain) // 2 * 2)))] * 2, strict=True):
        other.name, other.gender, other.birth_date = one.name, one.gender, one.birth_date
        other.national_id = registry.issue(other.birth_date, other.gender)
        one.trap = other.trap = "namesake"
