"""The CRM's records, as the stream keeps them, on their way into matching."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity import match_profiles
from pipelines.identity.addresses import split_address
from pipelines.identity.match_customers import Standing, objections, settled
from pipelines.identity.match_records import COMPARED, profiles
from pipelines.privacy.normalise import NORMALISERS
from tests.bench.identity_records import of_world


def test_twins_families_and_namesakes_of_a_world_stay_apart_and_most_doubles_are_found():
    found = of_world(3, 2_000)
    assert found["merged_right"] == found["merged"] > 40
    assert found["merged_right"] / found["true_pairs"] > 0.6


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("北京市朝阳区建国路88号", ("北京市朝阳区", "建国路", "88", None)),
        ("人民路1234弄5号201室", (None, "人民路", "1234", "5号201室")),
        ("上海市区政府", ("上海市", "区政府", None, None)),  # no number: what there is stays together
        ("苏州市市南路3号", ("苏州市", "市南路", "3", None)),  # a road that begins like a town
        ("新市路5号", (None, "新市路", "5", None)),  # and one that sounds like one
        ("广东省佛山市顺德区大良镇", ("广东省佛山市顺德区大良镇", None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_where_an_address_is_cut(address, parts):
    assert split_address(pl.Series([address], dtype=pl.String)).row(0) == parts


@pytest.mark.parametrize(
    ("written", "given_name", "family_name"),
    [
        ("李　雷", "雷", "李"),
        ("Anna Maria SMITH", "annamaria", "smith"),  # the vault keeps the blank: without it nobody has a given name
        ("Anna-Maria Smith", "annamaria", "smith"),
        ("欧阳 小红", "小红", "欧阳"),
    ],
)
def test_a_name_is_parted_after_its_way_through_the_vault(written, given_name, family_name):
    record = {"record_key": "crm/1", "name_token": "nm1_a"} | dict.fromkeys(set(COMPARED) - {"name_token"})
    told = profiles(pl.DataFrame([record]), {"nm1_a": NORMALISERS["person_name"](written)})
    made = match_profiles.features(told, contracts.policy("matching"), contracts.policy("identity")["placeholders"])
    assert made.select("given_name", "family_name").row(0) == (given_name, family_name)


def pairs(*ends: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(ends, schema=["record_id_left", "record_id_right"], orient="row")


OF = {"crm/1": "c_1", "crm/2": "c_2", "crm/3": "c_3", "crm/4": "c_4"}
NOTHING = pl.DataFrame(schema=dict.fromkeys(["customer_id", "kind", "token"], pl.String))


@pytest.mark.parametrize(
    ("standing", "reasons"),
    [
        ({}, [None, None, None]),
        # a person said that 1 and 3 are two: 1 and 2, 2 and 3 would make them one; 4 has to do with nobody of them
        ({"apart": {("c_1", "c_3")}}, ["a group at odds", "a group at odds", None]),
        # the customers of 1 and 3 hold two unionids, though 2 holds none
        (
            {"values": pl.DataFrame({"customer_id": ["c_1", "c_3", "c_4"], "kind": ["unionid"] * 3,
                                     "token": ["u1", "u3", "u4"]})},
            ["two different: unionid", "two different: unionid", None],
        ),
        # one unionid in both is no conflict
        ({"values": pl.DataFrame({"customer_id": ["c_1", "c_3"], "kind": ["unionid"] * 2, "token": ["u1"] * 2})},
         [None, None, None]),
        ({"records": {"c_1": 3, "c_2": 1, "c_3": 1, "c_4": 1}}, ["a group too large", "a group too large", None]),
    ],
)  # fmt: skip
def test_what_speaks_against_a_group_of_customers(standing, reasons):
    state = {"decided": set(), "apart": set(), "records": {}, "values": NOTHING} | standing
    merge = pairs(("crm/1", "crm/2"), ("crm/2", "crm/3"), ("crm/4", "crm/5"))
    assert objections(merge, Standing(OF | {"crm/5": None}, **state), max_records=4).to_list() == reasons


def test_a_record_of_nobody_yet_is_open_and_a_decided_pair_is_not():
    standing = Standing({"crm/1": "c_1", "s/8": None, "s/9": None}, {("crm/1", "s/8")}, set(), {}, NOTHING)
    asked = pairs(("crm/1", "s/8"), ("crm/1", "s/9"), ("s/8", "s/9"))
    assert settled(asked, standing).to_list() == ["said to be two", None, None]
