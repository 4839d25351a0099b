"""A CRM record out of the stream counts like the same row of a CRM file; its revisions say from when until when."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity.crm_import import crm_evidence
from pipelines.identity.evidence import of_messages
from pipelines.identity.register_records import KINDS, of_records
from pipelines.io.identity_sightings import SCHEMA
from pipelines.io.identity_writes import merged
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

POLICY = contracts.policy("identity")
RESOLUTION = POLICY["resolution"]


def records(*rows: dict) -> pl.DataFrame:
    whole = dict.fromkeys(SCHEMA.names) | {
        "channel": "crm",
        "record_key": "crm/1",
        "crm_status": "active",
        "attempt": 0,
    }
    types = {field.name: pl.Int64 if "int" in str(field.type) else pl.String for field in SCHEMA}
    types["phone_verified"] = pl.Boolean
    return pl.DataFrame([whole | row for row in rows], schema=types, orient="row")


def held(*rows: dict) -> dict[str, tuple]:
    """token → (attested, from, until)."""
    claims = of_records(records(*rows), RESOLUTION).claims
    return {row[0]: row[1:] for row in claims.select("token", "attested", "first_seen_at", "last_seen_at").iter_rows()}


def test_a_record_counts_like_the_same_row_of_a_file():
    key = MasterKey({1: bytes(32)})
    tokeniser = Tokeniser(key, placeholders=POLICY["placeholders"])
    row = {"customer_no": "7", "name": "李雷", "phone": "13812345671", "phone_verified": "1", "unionid": "oU1",
           "member_number": "M1", "email": "li@ex.cn", "national_id": "11010519491231002X",
           "birth_date": "1988-04-17"}  # fmt: skip
    of_file = crm_evidence([row], tokeniser, key, RESOLUTION, at_us=5).claims
    named = {"name": "name", "phone": "phone", "unionid": "unionid", "member": "member_number", "email": "email",
             "national_id": "national_id", "birth_date": "birth_date"}  # fmt: skip
    tokens = {f"{column}_token": tokeniser.token(row[name], KINDS[f"{column}_token"]) for column, name in named.items()}
    [record] = of_file["record_key"].unique()
    told = records(tokens | {"record_key": record, "phone_verified": True, "updated_at": 5})
    assert of_records(told, RESOLUTION).claims.sort("token").equals(of_file.sort("token"))


@pytest.mark.parametrize(
    ("revisions", "wanted"),
    [
        # not verified: nobody has shown that the number is theirs
        ([{"updated_at": 5, "phone_token": "p", "phone_verified": False}], {"p": (False, 5, None)}),
        # verified later: the same claim, vouched for now
        (
            [{"updated_at": 5, "phone_token": "p"}, {"updated_at": 9, "phone_token": "p", "phone_verified": True}],
            {"p": (True, 5, None)},
        ),
        # replaced, and told in the wrong order: the later change counts, not the later arrival
        (
            [{"updated_at": 9, "unionid_token": "u2"}, {"updated_at": 5, "unionid_token": "u1"}],
            {"u1": (True, 5, 9), "u2": (True, 9, None)},
        ),
        # one instant, two revisions: the number of the revision decides
        (
            [{"updated_at": 5, "source_revision": 2, "member_token": "m2"},
             {"updated_at": 5, "source_revision": 1, "member_token": "m1"}],
            {"m1": (True, 5, 5), "m2": (True, 5, None)},
        ),
        # gone and back: held all the time, as far as a claim can say
        (
            [{"updated_at": 5, "email_token": "e"}, {"updated_at": 6}, {"updated_at": 7, "email_token": "e"}],
            {"e": (True, 5, None)},
        ),
        # deleted: everything ends, also what the deletion still carries
        (
            [{"updated_at": 5, "email_token": "e"}, {"updated_at": 8, "email_token": "e", "crm_status": "deleted"}],
            {"e": (True, 5, 8)},
        ),
        # closed is not deleted: the person's contacts of then stay theirs
        ([{"updated_at": 5, "email_token": "e", "crm_status": "closed"}], {"e": (True, 5, None)}),
    ],
)  # fmt: skip
def test_from_which_revision_to_which(revisions, wanted):
    assert held(*revisions) == wanted


def test_what_was_held_before_ends_with_the_revision_that_no_longer_says_it():
    told = of_records(records({"updated_at": 40, "unionid_token": "u2"}, {"updated_at": 60}), RESOLUTION)
    before = of_records(records({"updated_at": 5, "unionid_token": "u1"}), RESOLUTION).claims
    known = before.with_columns(record_seq=pl.lit(1, pl.Int64))
    ended_at = {record: revision.first_at for record, revision in told.revisions.items()}
    changed = merged(told.claims, known, registers=["crm"], at_us=99, ended_at=ended_at)
    assert changed.select("token", "first_seen_at", "last_seen_at").sort("token").rows() == [
        ("u1", 5, 40), ("u2", 40, 60),
    ]  # fmt: skip


def test_an_order_vouches_for_the_account_and_not_for_the_phone():
    order = records({"channel": "orders", "sender_role": "customer", "record_key": None, "occurred_at": 5,
                     "member_token": "mb1_a", "openid_token": "op1_a", "phone_token": "ph1_gift"})  # fmt: skip
    claims = of_messages(order, RESOLUTION)
    assert dict(claims.select("token_type", "attested").iter_rows()) == {"openid": True, "member": True, "phone": False}
