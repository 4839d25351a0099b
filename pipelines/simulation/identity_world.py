"""A world whose identities are known: CRM revisions, contacts with their identifiers, and who was who in truth.

Identifiers stand in the clear: it is simulated data; whoever feeds it to the product makes tokens first.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from pipelines.simulation import habits, households, identifier_lives
from pipelines.simulation.households import Person, Span
from pipelines.simulation.identified_contacts import Contacts
from pipelines.simulation.identity_rates import DAY_US, Rates
from pipelines.simulation.registrations import Crm, register, tester_of
from pipelines.simulation.slips import Slips

_INSTANT = pl.Datetime("us", "UTC")
#: One row a revision of a CRM customer, in the order of time. A column is NULL until the CRM knows it.
CRM: dict[str, pl.DataType] = {
    "customer_no": pl.String(),
    "revision": pl.Int32(),  # 0 is the registration
    "updated_at": _INSTANT,
    "registered_by": pl.String(),  # mini_program | app | store | web_chat; NULL for test records
    "phone": pl.String(),
    "phone_verified": pl.Boolean(),  # somebody read the code sent to it: the customer, or a clerk for the customer
    "phone_verified_at": _INSTANT,
    "unionid": pl.String(),
    "member_number": pl.String(),
    "email": pl.String(),
    "email_verified": pl.Boolean(),
    "national_id": pl.String(),
    "name": pl.String(),
    "birth_date": pl.String(),  # as typed, YYYY-MM-DD
    "gender": pl.String(),
    "region": pl.String(),
    "address": pl.String(),
}
#: One row a contact, in the order of time; identifiers are named as in `pipelines.channels.interaction`.
CONTACTS: dict[str, pl.DataType] = {
    "contact_id": pl.String(),
    "channel": pl.String(),
    "occurred_at": _INSTANT,
    "phone": pl.String(),
    "phone_attested": pl.Boolean(),  # by the network (call, SMS) or an SMS code; False where a hand typed it
    "unionid": pl.String(),  # the platform's own IDs attest themselves
    "openid": pl.String(),
    "external_userid": pl.String(),
    "member_number": pl.String(),
    "member_attested": pl.Boolean(),  # by a session that was signed in
    "email": pl.String(),  # the From header: easily forged, so it attests nothing
    "user_handle": pl.String(),  # app account or visitor ID: unique within its channel only
}
IDENTIFIERS = ("phone", "unionid", "openid", "external_userid", "member_number", "email", "user_handle")
#: The truth of an item (a contact or a CRM customer): the person, and the trap it is in ("plain": none).
TRUTH: dict[str, pl.DataType] = {
    "item": pl.String(),  # contact_id or customer_no
    "kind": pl.String(),  # contact | record
    "person": pl.Int64(),
    "trap": pl.String(),
    "identified": pl.Boolean(),  # False for a contact that carries no identifier at all
}


@dataclass(frozen=True)
class World:
    """Three frames with the schemas CRM, CONTACTS and TRUTH, and the span they cover."""

    crm: pl.DataFrame
    contacts: pl.DataFrame
    truth: pl.DataFrame
    start_at: datetime
    end_at: datetime


def build(
    seed: int,
    persons: int,
    *,
    months: int = 24,
    start_at: datetime = datetime(2024, 1, 1, tzinfo=UTC),
    rates: Rates | None = None,
) -> World:
    """The world of that seed: the same arguments give the same frames. A month has 30 days.

    A contact's person is who held the account, wrote or called, except that nobody borrows: a single call from
    another's phone without any other sign is not simulated, because no identifier could ever tell it.
    Raises ValueError for fewer than 2 persons or months under 1.

    >>> world = build(1, 50)
    >>> world.crm.schema == pl.Schema(CRM), world.contacts.schema == pl.Schema(CONTACTS)
    (True, True)
    >>> len(world.truth) == len(world.contacts) + world.crm["customer_no"].n_unique()
    True
    """
    if persons < 2 or months < 1:
        raise ValueError(f"a world needs 2 persons and 1 month at least, not {persons} and {months}")
    rates = rates or Rates()
    start_us = int(start_at.timestamp()) * 1_000_000
    span = Span(start_us, start_us + months * 30 * DAY_US)
    everybody = households.people(seed, persons, rates)
    traps = identifier_lives.give(seed, everybody, rates, span)
    habits.form(seed, everybody, rates)
    chance = random.Random(f"{seed}/{persons}/clerks")  # noqa: S311
    staff = [person for person in everybody if person.trap == "plain"] or everybody
    slips = Slips(seed, chance.sample(staff, min(rates.stores, len(staff))), rates, traps)
    # Numbers from 0 are persons, the next ones their later phones: the tester's lies behind all of them.
    tester = tester_of(persons * 3, span)
    traps |= {held[0].value: "test_account" for held in tester.holds.values()}
    crm = register(seed, everybody, tester, slips, rates, span, traps)
    rows = _contact_rows(Contacts(seed, crm, slips, rates, span, traps), everybody, tester)
    contacts = pl.DataFrame(rows, schema=CONTACTS | {"person": pl.Int64(), "trap": pl.String()})
    end_at = datetime.fromtimestamp(span.end_us / 1e6, UTC)
    revisions = pl.DataFrame(crm.rows, schema=CRM).sort("updated_at", "customer_no", "revision")
    return World(revisions, contacts.select(*CONTACTS), _truth(crm, contacts), start_at, end_at)


def _contact_rows(make: Contacts, everybody: list[Person], tester: Person) -> list[dict]:
    rows = [row for person in everybody for row in make.of(person)] + make.of_tester(tester)
    rows.sort(key=lambda row: row["occurred_at"])
    for n, row in enumerate(rows):
        row["contact_id"] = f"k{n:08d}"
        row.setdefault("phone_attested", False)
        row.setdefault("member_attested", False)
    return rows


def _truth(crm: Crm, contacts: pl.DataFrame) -> pl.DataFrame:
    of_contacts = contacts.select(
        pl.col("contact_id").alias("item"),
        pl.lit("contact").alias("kind"),
        "person",
        "trap",
        pl.any_horizontal(pl.col(IDENTIFIERS).is_not_null()).alias("identified"),
    )
    rows = [(number, "record", person, trap, True) for number, (person, trap) in crm.truth.items()]
    return pl.concat([of_contacts, pl.DataFrame(rows, schema=TRUTH, orient="row")])
