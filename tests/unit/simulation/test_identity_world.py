"""The simulated world of identities: what is true of it by construction, trap by trap."""

from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest

from pipelines.channels.interaction import Interaction
from pipelines.simulation import households, identifier_lives
from pipelines.simulation.households import Span
from pipelines.simulation.identity_rates import DAY_US, Rates
from pipelines.simulation.identity_world import CONTACTS, CRM, IDENTIFIERS, TRUTH, build

SPAN = Span(0, 720 * DAY_US)
NO_TRAPS = Rates(
    family_phone=0, shared_email=0, shared_device=0, twins=0, namesakes=0, phone_change_a_year=0, duplicate_records=0,
    new_wechat_a_year=0, typing_error=0, placeholder=0, clerk_phone=0, shop_landline=0, switchboard=0, test_contacts=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return build(7, 4000)


@pytest.fixture(scope="module")
def told(world):
    """Contacts with their truth beside them."""
    return world.contacts.join(world.truth.rename({"item": "contact_id"}), on="contact_id")


def test_the_same_arguments_give_the_same_world():
    one, again, other = build(3, 200), build(3, 200), build(4, 200)
    assert one.crm.equals(again.crm)
    assert one.contacts.equals(again.contacts)
    assert one.truth.equals(again.truth)
    assert not one.contacts.equals(other.contacts)


def test_frames_keep_their_schemas_and_the_truth_knows_every_item_once(world):
    frames = (world.crm, world.contacts, world.truth)
    assert [frame.schema for frame in frames] == [pl.Schema(schema) for schema in (CRM, CONTACTS, TRUTH)]
    items = pl.concat([world.contacts["contact_id"], world.crm["customer_no"].unique()])
    assert sorted(items) == sorted(world.truth["item"])
    assert world.contacts["occurred_at"].is_between(world.start_at, world.end_at).all()


def test_revisions_of_a_record_follow_each_other(world):
    for _, rows in world.crm.sort("updated_at").group_by("customer_no"):
        assert rows["revision"].to_list() == list(range(len(rows)))


def test_identifiers_are_named_as_the_parsers_name_them():
    assert set(IDENTIFIERS) <= set(Interaction._fields)


@pytest.mark.parametrize(
    ("channel", "carries"),
    [
        ("phone", {"phone"}),  # the caller's number only
        ("sms", {"phone"}),
        ("email", {"email"}),
        ("wechat", {"openid", "unionid"}),
        ("mini_program", {"openid", "unionid", "phone"}),  # the phone where it was authorised
        ("wecom", {"external_userid", "unionid"}),
        ("app", {"user_handle", "phone", "member_number"}),
        ("store", {"phone", "member_number"}),  # typed
        ("web_chat", {"user_handle", "phone", "member_number"}),
    ],
)
def test_a_channel_carries_what_its_platform_delivers(world, channel, carries):
    rows = world.contacts.filter(pl.col("channel") == channel)
    assert {name for name in IDENTIFIERS if rows[name].is_not_null().any()} == carries


def test_only_typed_numbers_are_not_attested(world):
    phones = world.contacts.filter(pl.col("phone").is_not_null())
    by_channel = dict(phones.group_by("channel").agg(pl.col("phone_attested").mean()).iter_rows())
    assert by_channel == {"phone": 1, "sms": 1, "app": 1, "mini_program": 1, "store": 0, "web_chat": pytest.approx(0)}


@pytest.mark.parametrize("name", ["unionid", "openid", "external_userid"])
def test_a_platforms_own_id_is_one_persons(told, name):
    owners = told.drop_nulls(name).group_by(name).agg(pl.col("person").n_unique())
    assert owners["person"].max() == 1


def test_openids_of_the_two_accounts_and_the_mini_program_differ_and_share_the_unionid(told):
    kinds = told.drop_nulls("openid").with_columns(kind=pl.col("openid").str.head(2))
    assert set(kinds["kind"]) == {"oA", "oB", "oM"}
    assert kinds.drop_nulls("unionid").group_by("unionid").agg(pl.col("kind").n_unique())["kind"].max() >= 2


def test_twins_and_namesakes_are_what_they_are_called():
    everybody = households.people(7, 4000, replace(Rates(), twins=0.02, namesakes=0.02))
    twins = [person for person in everybody if person.trap == "twins"]
    assert len(twins) == 80
    for one, other in zip(twins[::2], twins[1::2], strict=True):
        assert (one.household, one.name[0], one.birth_date) == (other.household, other.name[0], other.birth_date)
        assert one.national_id[:14] == other.national_id[:14]  # region and birth
        assert one.national_id != other.national_id
    named = {}
    for person in (person for person in everybody if person.trap == "namesake"):
        named.setdefault((person.name, person.birth_date), set()).add(person.household)
    assert [len(homes) for homes in named.values()] == [2] * 40
    assert len({person.national_id for person in everybody}) == 4000


@pytest.mark.parametrize(("early", "shortest_days", "longest_days"), [(0.0, 90, 720), (1.0, 10, 720)])
def test_a_number_has_one_holder_at_a_time_and_rests_in_between(early, shortest_days, longest_days):
    rates = replace(NO_TRAPS, phone_change_a_year=0.3, reissued_to_customer=1.0, early_reissue=early)
    everybody = households.people(5, 2000, rates)
    identifier_lives.give(5, everybody, rates, SPAN)
    lives: dict[str, list] = {}
    for person in everybody:
        for held in person.holds["phone"]:
            lives.setdefault(held.value, []).append((held.from_us, held.to_us))
    rests = []
    for holders in lives.values():
        holders.sort()
        rests += [(after[0] - before[1]) / DAY_US for before, after in pairwise(holders)]
    assert len(rests) > 300
    assert shortest_days <= min(rests) < shortest_days + 5
    assert max(rests) <= longest_days


def test_a_family_shares_one_number_and_marks_it():
    rates = replace(NO_TRAPS, family_phone=1.0)
    everybody = households.people(5, 500, rates)
    traps = identifier_lives.give(5, everybody, rates, SPAN)
    users = [person for person in everybody if person.trap == "family_phone"]
    holders = {person.household: person.at("phone", 0) for person in reversed(everybody)}
    assert users
    assert all(person.at("phone", 0) == holders[person.household] for person in users)
    assert all(traps[person.at("phone", 0)] == "family_phone" for person in users)


def test_a_wrong_member_number_is_anothers(world, told):
    owner = dict(world.crm.select("member_number", "customer_no").unique().iter_rows())
    person_of = dict(world.truth.select("item", "person").iter_rows())
    wrong = told.filter(pl.col("trap") == "wrong_member")
    assert len(wrong) > 5
    for row in wrong.iter_rows(named=True):
        assert person_of[owner[row["member_number"]]] != row["person"], row


def test_a_clerks_number_stands_for_many(told):
    clerks = told.filter((pl.col("trap") == "clerk_phone") & (pl.col("channel") == "store"))
    assert clerks.group_by("phone").agg(pl.col("person").n_unique())["person"].max() >= 2


def test_the_test_account_carries_many_members_and_the_switchboard_many_callers(told):
    tested = told.filter(pl.col("trap") == "test_account")
    assert tested["person"].n_unique() == 1
    assert tested["member_number"].n_unique() > 100
    assert told.filter(pl.col("phone") == identifier_lives.SWITCHBOARD)["person"].n_unique() > 5


def test_some_register_twice_and_some_never(world, told):
    records = world.truth.filter(pl.col("kind") == "record").group_by("person").len()
    twice = records.filter(pl.col("len") == 2)
    assert 0.02 < len(twice) / len(records) < 0.06
    assert 0.1 < told.filter(~pl.col("person").is_in(records["person"].implode()))["person"].n_unique() / 4000 < 0.25


def test_without_rates_there_is_no_trap():
    assert set(build(7, 600, rates=NO_TRAPS).truth.filter(pl.col("kind") == "contact")["trap"]) == {"plain"}


def test_a_world_of_nobody_is_refused():
    with pytest.raises(ValueError, match="2 persons and 1 month"):
        build(1, 1)
