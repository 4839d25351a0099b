"""The CRM import links what the company has verified, and says what it left out."""

import json

import pytest

from pipelines import contracts
from pipelines.identity.crm_import import CrmFileError, changes, crm_links, customer_id, read_rows
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

KEY = MasterKey({1: bytes(32)})
HEADER = "customer_no,name,phone,phone_verified,unionid,member_number,email\n"


def links_of(tmp_path, lines, encoding="utf-8"):
    path = tmp_path / "crm.csv"
    path.write_bytes((HEADER + lines).encode(encoding))
    tokeniser = Tokeniser(KEY, placeholders=contracts.policy("identity")["placeholders"])
    return crm_links(read_rows(path), tokeniser, KEY)


def test_one_customer_three_identifiers_one_coded_id(tmp_path):
    result = links_of(tmp_path, "100,李雷,138 1234 5670,是,oUNION1,vip-1,li@ex.cn\n")
    assert sorted(link.token_type for link in result.links) == ["member", "phone", "unionid"]
    assert {link.customer_id for link in result.links} == {customer_id("100", KEY)}
    assert {link.evidence for link in result.links} == {"crm:phone_verified", "crm:unionid", "crm:member_number"}
    assert not any("100" in link.evidence for link in result.links)


@pytest.mark.parametrize(
    ("line", "links", "unverified", "placeholders"),
    [
        ("1,a,13812345670,0,,,\n", 0, 1, 0),  # not verified: nobody has shown that it is theirs
        ("1,a,13812345670,,,,\n", 0, 1, 0),  # verification not stated
        ("1,a,13800000000,1,,,\n", 0, 0, 1),  # the clerk's favourite, even "verified"
        ("1,a,,1,无,0000,\n", 0, 0, 2),  # placeholders as unionid and as member number
        ("1,a,,,,,li@ex.cn\n", 0, 0, 0),  # an e-mail address links nothing for now
    ],
)
def test_what_does_not_link(tmp_path, line, links, unverified, placeholders):
    result = links_of(tmp_path, line)
    assert (len(result.links), result.unverified_phones, result.placeholders.total()) == (
        links, unverified, placeholders,
    )  # fmt: skip


def test_an_identifier_of_two_customers_links_neither(tmp_path):
    lines = "1,a,13812345670,1,oA,,\n2,b,+86 138-1234-5670,1,oB,,\n"
    result = links_of(tmp_path, lines)
    assert sorted(link.token_type for link in result.links) == ["unionid", "unionid"]
    [owners] = result.conflicts.values()
    assert owners == sorted([customer_id("1", KEY), customer_id("2", KEY)])


def test_the_same_customer_twice_is_no_conflict(tmp_path):
    result = links_of(tmp_path, "1,a,13812345670,1,,,\n1,a,13812345670,1,,,\n")
    assert (result.rows, result.customers, len(result.links), result.conflicts) == (2, 1, 1, {})


def test_files_out_of_a_chinese_spreadsheet(tmp_path):
    assert len(links_of(tmp_path, "1,李雷,13812345670,是,,,\n", "gb18030").links) == 1
    assert len(links_of(tmp_path, "1,李雷,13812345670,是,,,\n", "utf-8-sig").links) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [("a,b\n1,2\n", "lacks the columns customer_no"), (HEADER + ",a,13812345670,1,,,\n", "line 2 has no customer_no")],
)
def test_what_is_no_crm_file_is_said(tmp_path, content, says):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(CrmFileError, match=says):
        list(read_rows(path))


def test_only_the_difference_is_written_and_gone_links_are_removed(tmp_path):
    first = links_of(tmp_path, "1,a,13812345670,1,oA,,\n")
    records = changes(first, {}, rule_version="identity-1", valid_from_us=7)
    fields = {field.name for field in contracts.topic("identity.map").fields}
    assert all(set(json.loads(value)) == fields for _, value in records)
    current = {link.token: (link.customer_id, link.evidence) for link in first.links}
    assert changes(first, current, rule_version="identity-1", valid_from_us=8) == []
    current["mb1_" + "0" * 32] = ("c_person", "review:operator 7")  # linked by a person: not the CRM's to remove
    without_phone = links_of(tmp_path, "1,a,,,oA,,\n")
    [phone] = [link.token for link in first.links if link.token_type == "phone"]
    assert changes(without_phone, current, rule_version="identity-1", valid_from_us=9) == [(phone, None)]


def test_the_coded_id_hides_the_customer_number():
    coded = customer_id("100234", KEY)
    assert coded.startswith("c_")
    assert "100234" not in coded
    assert coded != customer_id("100234", MasterKey({1: b"\x01" * 32}))
