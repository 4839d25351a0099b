"""What hands type instead of what is true: wrong digits, placeholders, the clerk's own number; WeChat's ID forms."""

from __future__ import annotations

import random

from pipelines.simulation.households import Person
from pipelines.simulation.identity_rates import Rates

# Half are on the list of policy `identity`, half are not: no list is ever complete.
_PLACEHOLDERS = ("13800138000", "13888888888", "无", "13812345678", "13111111111", "15912345678")
_SHOP_LANDLINE = "0571-1100"


def wechat_ids(code: str) -> dict[str, str]:
    """The IDs that one WeChat account has with us: two official accounts, the mini program, WeCom; one unionid.

    >>> wechat_ids("0110000003A")["openid_a"], wechat_ids("0110000003A")["unionid"]
    ('oA0110000003Asynthetic000', 'uSYNTHETIC0110000003A')
    """
    return {
        "unionid": f"uSYNTHETIC{code}",
        "openid_a": f"oA{code}synthetic000",
        "openid_b": f"oB{code}synthetic000",
        "mini_openid": f"oM{code}synthetic000",
        "external_userid": f"wmSYNTHETIC{code}",
    }


class Slips:
    """Wrong entries from one source of chance. ``clerks`` has one person a store."""

    def __init__(self, seed: int, clerks: list[Person], rates: Rates, traps: dict[str, str]) -> None:
        self._chance = random.Random(f"{seed}/slips")  # noqa: S311
        self._clerks, self._rates = clerks, rates
        if rates.clerk_phone:
            traps |= {held.value: "clerk_phone" for clerk in clerks for held in clerk.holds["phone"]}
        traps |= {self._landline(store): "shop_landline" for store in range(rates.stores)}

    @staticmethod
    def _landline(store: int) -> str:
        return f"{_SHOP_LANDLINE}{store:04d}"

    def digit(self, value: str, at_least: int = 1) -> str:
        """One digit from place ``at_least`` on becomes another."""
        places = [place for place, sign in enumerate(value) if sign.isdigit() and place >= at_least]
        place = self._chance.choice(places)
        other = self._chance.choice([digit for digit in "0123456789" if digit != value[place]])
        return value[:place] + other + value[place + 1 :]

    def letter(self, name: str) -> str:
        """The last character of a name becomes one that a hand could have picked from the input method's list."""
        return name[:-1] + self._chance.choice("微薇威维伟韦蔚玮".replace(name[-1], ""))

    def typed_phone(self, phone: str | None, store: int | None, at_us: int) -> tuple[str | None, str | None]:
        """A number as it is typed, by the customer (``store`` None) or a clerk, and the name of the trap or None."""
        chance, rates = self._chance, self._rates
        drawn = chance.random()
        if store is not None:
            if drawn < rates.clerk_phone:
                return self._clerks[store % len(self._clerks)].at("phone", at_us), "clerk_phone"
            drawn -= rates.clerk_phone
            if drawn < rates.shop_landline:
                return self._landline(store), "shop_landline"
            drawn -= rates.shop_landline
        if drawn < rates.placeholder:
            return chance.choice(_PLACEHOLDERS), "placeholder"
        if drawn < rates.placeholder + rates.typing_error and phone is not None:
            return self.digit(phone, at_least=3), "wrong_phone"
        return phone, None

    def typed_member(self, member: str, issued: int) -> tuple[str, str | None]:
        """A member number as it is typed: numbers run on and have no check digit, so one digit off is another's.

        ``issued`` numbers exist; a slip that meets none of them is the form's to refuse, so hands type again.
        """
        if self._chance.random() >= self._rates.typing_error:
            return member, None
        for _ in range(20):
            wrong = self.digit(member)
            if 10_000_000 < int(wrong[1:]) <= 10_000_000 + issued:
                return wrong, "wrong_member"
        return member, None
