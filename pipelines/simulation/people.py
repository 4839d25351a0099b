"""Synthetic customers: the same seed and number give the same person, whoever asks."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许"
_GIVEN = "一二三四五六七八九十甲乙丙丁"
REGIONS = ("上海", "北京", "广东", "四川", "陕西", "浙江", "湖北", "辽宁", "云南", "甘肃")
LEVELS = ("普通", "银卡", "金卡", "钻石")
_PHONES_FROM = 13_800_000_001
_FORM_FILLER = 138_000  # 13800138000, which hands type to get past a form
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
MAX_CUSTOMERS = 900_000


class Customer(NamedTuple):
    """One person and every name the channels know them by; ``number`` is the truth."""

    number: int
    customer_no: str
    name: str
    phone: str
    phone_verified: bool
    unionid: str
    openid: str
    mini_openid: str
    external_userid: str
    member_number: str
    email: str
    visitor_id: str
    app_user_id: str
    social_id: str
    live_id: str
    national_id: str
    region: str
    birth_year: int
    gender: str
    member_level: str
    #: Which of the identifiers the CRM holds.
    in_crm: tuple[bool, bool, bool]  # phone, unionid, member number


@lru_cache(maxsize=200_000)
def customer(seed: int, number: int) -> Customer:
    """The customer of that number. Phones are 138 0000 0001 and up: synthetic, and they look it.

    >>> customer(7, 1).phone, customer(7, 1) == customer(7, 1)
    ('13800000002', True)
    """
    if not 0 <= number < MAX_CUSTOMERS:
        raise ValueError(f"customer numbers go from 0 to {MAX_CUSTOMERS - 1}, not {number}")
    chance = random.Random(f"{seed}/{number}")  # noqa: S311
    phone = _PHONES_FROM + number + (1 if number >= _FORM_FILLER - 1 else 0)
    code = f"{seed % 1000:03d}{number:07d}"
    return Customer(
        number=number,
        customer_no=f"C{code}",
        name=chance.choice(_SURNAMES) + chance.choice(_GIVEN) + chance.choice(_GIVEN),
        phone=str(phone),
        phone_verified=chance.random() < 0.85,
        unionid=f"uSYNTHETIC{code}union",
        openid=f"oWX{code}synthetic0000000",
        mini_openid=f"oMP{code}synthetic0000000",
        external_userid=f"wmSYNTHETIC{code}00000000000",
        member_number=f"M{code}",
        email=f"customer{code}@example.org",
        visitor_id=f"v-{code}",
        app_user_id=f"u-{code}",
        social_id=f"wb-{code}",
        live_id=f"dy-{code}",
        national_id=_national_id(number),
        region=chance.choice(REGIONS),
        birth_year=chance.randint(1950, 2007),
        gender=chance.choice("男女"),
        member_level=chance.choices(LEVELS, (60, 25, 12, 3))[0],
        in_crm=(chance.random() < 0.9, chance.random() < 0.75, chance.random() < 0.8),
    )


def _national_id(number: int) -> str:
    """A number with a right check digit for a birth in 1900 to 1909: nobody alive has it.

    >>> _national_id(0)
    '110101190001010014'
    """
    day, rest = divmod(number, 998)
    body = f"110101190{day // 336 % 10}{day // 28 % 12 + 1:02d}{day % 28 + 1:02d}{rest + 1:03d}"
    check = sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True)) % 11
    return body + "10X98765432"[check]
