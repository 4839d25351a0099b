"""A world turned into tokens and evidence, by hand; and what the baselines make of worlds whose answer is known."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity.crm_import import customer_id
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.simulation.identity_rates import Rates
from pipelines.simulation.identity_world import CONTACTS, CRM, TRUTH, World
from tests.bench.identity_evidence import (
    EVIDENCE,
    assigned_by_owners,
    contacts_with_tokens,
    crm_key,
    evidence,
)
from tests.bench.identity_world import (
    DEVELOP_SEED,
    REPORT_SEEDS,
    baseline_scores,
    main,
    score_resolution,
    token_world,
)
from tests.unit.simulation.test_identity_world import NO_TRAPS

KEY = MasterKey({1: bytes(32)})
TOKENISER = Tokeniser(KEY, placeholders={"phone": ["13800138000"]})


def day(n: int) -> datetime:
    return datetime(2026, 1, n, tzinfo=UTC)


def contact(contact_id, channel, n, **carried):
    flags = {"phone_attested": False, "member_attested": False}
    return {"contact_id": contact_id, "channel": channel, "occurred_at": day(n)} | flags | carried


CONTACT_ROWS = [
    contact("k1", "phone", 2, phone="15400000001", phone_attested=True),
    contact("k2", "phone", 9, phone="+86 154 0000 0001", phone_attested=True),  # the same number, spelt otherwise
    contact("k3", "store", 3, phone="15400000001", member_number="M1"),  # typed: the same number, another source
    contact("k4", "app", 4, user_handle="7"),
    contact("k5", "web_chat", 5, user_handle="7"),  # the same letters, but another platform's
    contact("k6", "store", 6, phone="13800138000"),  # a placeholder: no token, so no record
    contact("k7", "phone", 7),  # number withheld
    contact("k8", "sms", 10, phone="15400000001", phone_attested=True),  # the same set from another source
]
CRM_ROWS = [
    {"customer_no": "C1", "revision": 0, "updated_at": day(1), "phone": "15400000001", "phone_verified": False},
    {"customer_no": "C1", "revision": 1, "updated_at": day(2), "phone": "15400000001", "phone_verified": True},
    {"customer_no": "C1", "revision": 2, "updated_at": day(8), "phone": "15400000002", "phone_verified": False},
]


@pytest.fixture(scope="module")
def world():
    contacts = pl.DataFrame(CONTACT_ROWS, schema=CONTACTS)
    return World(pl.DataFrame(CRM_ROWS, schema=CRM), contacts, pl.DataFrame(schema=TRUTH), day(1), day(20))


@pytest.fixture(scope="module")
def contacts(world):
    return contacts_with_tokens(world, TOKENISER, KEY, ["user_handle"])


def phone(value: str) -> str:
    return TOKENISER.token(value, "phone")


def test_contacts_with_the_same_identifiers_on_one_source_are_one_record(contacts):
    key = dict(contacts.select("contact_id", "record_key").iter_rows())
    assert key["k1"] == key["k2"]
    assert len({key["k1"], key["k3"], key["k8"]}) == 3
    assert key["k4"] != key["k5"]
    assert key["k6"] is key["k7"] is None
    assert all(len(value) == 26 and value.startswith("s/") for value in key.values() if value)


def test_evidence_rows_by_hand(world, contacts):
    rows = evidence(world, contacts, TOKENISER, KEY)
    assert rows.schema == pl.Schema(EVIDENCE)
    found = {
        (row["source"], row["token"]): (row["attested"], row["first_seen_at"], row["last_seen_at"], row["sightings"])
        for row in rows.to_dicts()
    }
    member = TOKENISER.token("M1", "member")
    handles = contacts.filter(pl.col("contact_id").is_in(["k4", "k5"]))["user_handle_token"].to_list()
    assert found == {
        ("phone", phone("15400000001")): (True, day(2), day(9), 2),
        ("sms", phone("15400000001")): (True, day(10), day(10), 1),
        ("store", phone("15400000001")): (False, day(3), day(3), 1),
        ("store", member): (False, day(3), day(3), 1),
        ("app", handles[0]): (True, day(4), day(4), 1),
        ("web_chat", handles[1]): (True, day(5), day(5), 1),
        ("crm", phone("15400000001")): (True, day(1), day(8), 2),  # until the revision that replaced it
        ("crm", phone("15400000002")): (False, day(8), day(20), 1),  # still in the CRM when the world ends
    }
    crm = set(rows.filter(pl.col("source") == "crm")["record_key"])
    assert crm == {crm_key("C1", KEY)} == {"crm/" + customer_id("C1", KEY)[2:]}


def owners(*rows):
    schema = {"token": pl.String, "customer_id": pl.String} | {
        name: pl.Datetime("us", "UTC") for name in ("valid_from_at", "valid_to_at")
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        # The number changed hands on the 5th: the contact of the 2nd and the one of the 9th are two customers'.
        (
            [("15400000001", "A", None, day(5)), ("15400000001", "B", day(5), None)],
            {"k1": "A", "k2": "B", "k3": "A", "k8": "B"},
        ),
        ([("15400000001", None, None, None)], {"k3": "provisional M1"}),  # shared: names nobody, not even provisionally
        (
            [("15400000001", "B", day(5), None)],
            {"k2": "B", "k3": "provisional M1", "k8": "B"},
        ),  # nobody's before the 5th
    ],
)
def test_contacts_go_to_the_owner_at_their_time(contacts, timeline, expected):
    rows = [(phone(value), *rest) for value, *rest in timeline]
    order = ["phone", "member"]
    said = assigned_by_owners(contacts, owners(*rows), precedence=order, provisional=order)
    member = "p_" + TOKENISER.token("M1", "member")[-32:][:24]
    names = {item: "provisional M1" if name == member else name for item, name in said.iter_rows()}
    assert names == expected


def test_a_better_identifier_decides_before_a_lesser_one(contacts):
    rows = owners((phone("15400000001"), "A", None, None), (TOKENISER.token("M1", "member"), "B", None, None))
    for order, expected in ((["phone", "member"], "A"), (["member", "phone"], "B")):
        said = assigned_by_owners(contacts, rows, precedence=order, provisional=order)
        assert dict(said.iter_rows())["k3"] == expected


def test_a_resolver_that_links_the_crm_alone_scores_as_its_links():
    """Owners = the phones of the CRM's records in a world without traps: no pair is wrong, and records score too."""
    found = token_world(5, 300, rates=NO_TRAPS)
    crm = found.evidence.filter(pl.col("source") == "crm")
    of_records = crm.select("record_key", customer_id="record_key").unique()
    phones = crm.filter(pl.col("token_type") == "phone").select("token", customer_id="record_key")
    timeline = phones.join(owners(), how="full", on=["token", "customer_id"], coalesce=True)
    scored = score_resolution(found, timeline, of_records)
    assert scored.pair_precision == 1.0
    assert 0.3 < scored.continuity < 1


def test_rules_are_not_reported_on_the_seed_they_were_made_on():
    assert DEVELOP_SEED not in REPORT_SEEDS


def test_the_command_writes_what_it_shows(tmp_path, capsys):
    assert main(["--persons", "200", "--seed", "3", "--out", str(tmp_path / "world.json")]) == 0
    written = json.loads((tmp_path / "world.json").read_text())
    assert (written["seed"], written["persons"], len(written["scores"])) == (3, 200, 3)
    shown = " ".join(capsys.readouterr().out.split())
    assert "200 persons, seed 3" in shown
    assert "evidence rows" in shown


def test_where_there_is_no_trap_even_the_naive_way_merges_nobody():
    scores = baseline_scores(token_world(5, 600, rates=NO_TRAPS))
    assert scores["any shared identifier"].pair_precision == 1.0
    assert scores["CRM import, exact"].pair_precision == 1.0
    assert scores["ceiling: perfect guards"].pair_precision == 1.0
    assert scores["ceiling: perfect guards"].continuity == scores["any shared identifier"].continuity


def test_under_the_default_rates_the_naive_way_fails_clearly_and_the_ceiling_does_not():
    scores = baseline_scores(token_world(5, 3000))
    assert scores["any shared identifier"].pair_precision < 0.8
    assert scores["ceiling: perfect guards"].pair_precision > 0.99
    assert scores["CRM import, exact"].continuity < scores["ceiling: perfect guards"].continuity
    assert scores["ceiling: perfect guards"].continuity_joinable == 1.0


def test_one_number_behind_many_is_a_trap_for_the_naive_way_alone():
    """Only the switchboard: the naive way joins its callers, the ceiling leaves its calls to nobody."""
    scores = baseline_scores(token_world(5, 1000, rates=replace(NO_TRAPS, switchboard=0.05)))
    assert scores["any shared identifier"].by_trap.filter(pl.col("merged_pairs") > 0)["trap"].to_list() == [
        "switchboard"
    ]
    assert scores["ceiling: perfect guards"].pair_precision == 1.0


def test_placeholders_of_the_policy_have_no_token_and_some_others_have():
    found = token_world(5, 3000, rates=replace(Rates(), placeholder=0.2))
    typed = found.world.truth.filter((pl.col("trap") == "placeholder") & (pl.col("kind") == "contact"))["item"]
    tokens = found.contacts.filter(pl.col("contact_id").is_in(typed.implode()))["phone_token"]
    assert 0.3 < tokens.null_count() / len(tokens) < 0.7
    assert "13812345678" not in contracts.policy("identity")["placeholders"]["phone"]
