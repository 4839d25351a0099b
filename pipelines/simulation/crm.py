"""The sample CRM file of a simulation: the same seed and customers as its traffic, so that it can be joined."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from pipelines.simulation.people import customer

COLUMNS = (
    "customer_no",
    "name",
    "phone",
    "phone_verified",
    "unionid",
    "member_number",
    "email",
    "region",
    "birth_year",
    "gender",
    "member_level",
    "registered_at",
)


def rows(seed: int, customers: int) -> Iterator[dict[str, str]]:
    """One row a customer; what the CRM never learned of a person is empty.

    >>> row = next(rows(7, 1))
    >>> row["customer_no"], row["phone"]
    ('C0070000000', '13800000001')
    """
    for number in range(customers):
        person = customer(seed, number)
        has_phone, has_unionid, has_member = person.in_crm
        day = random.Random(f"{seed}/{number}/registered").randrange(2_500)  # noqa: S311
        yield {
            "customer_no": person.customer_no,
            "name": person.name,
            "phone": person.phone if has_phone else "",
            "phone_verified": "1" if has_phone and person.phone_verified else "0",
            "unionid": person.unionid if has_unionid else "",
            "member_number": person.member_number if has_member else "",
            "email": person.email,
            "region": person.region,
            "birth_year": str(person.birth_year),
            "gender": person.gender,
            "member_level": person.member_level,
            "registered_at": f"{2018 + day // 365}-{day // 31 % 12 + 1:02d}-{day % 28 + 1:02d}",
        }


def write(path: Path, seed: int, customers: int) -> int:
    """Write the file (UTF-8); the number of customers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, COLUMNS)
        out.writeheader()
        out.writerows(rows(seed, customers))
    return customers
