"""The CRM import says what each customer holds, what of it is checked, and what it left out."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity.crm_import import (
    CrmFileError,
    CrmFileShrinks,
    crm_evidence,
    customer_id,
    read_rows,
    record_key,
    refuse_shrinking,
)
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

KEY = MasterKey({1: bytes(32)})
POLICY = contracts.policy("identity")
HEADER = "customer_no,name,phone,phone_verified,unionid,member_number,email\n"


def identifiers_of(tmp_path, line):
    """What was read of one line, without the name."""
    found = evidence_of(tmp_path, line)
    return found, found.claims.filter(pl.col("token_type") != "person_name")


def evidence_of(tmp_path, lines, encoding="utf-8"):
    path = tmp_path / "crm.csv"
    path.write_bytes((HEADER + lines).encode(encoding))
    tokeniser = Tokeniser(KEY, placeholders=POLICY["placeholders"])
    return crm_evidence(read_rows(path), tokeniser, KEY, POLICY["resolution"], at_us=7)


def test_one_customer_four_identifiers_one_record(tmp_path):
    claims = evidence_of(tmp_path, "100,李雷,138 1234 5670,是,oUNION1,vip-1,li@ex.cn\n").claims
    assert sorted(claims["token_type"]) == ["email", "member", "person_name", "phone", "unionid"]
    assert set(claims["record_key"]) == {record_key("100", KEY)}
    assert claims["attested"].all()
    assert claims.select("source", "first_seen_at", "last_seen_at", "sightings").unique().rows() == [
        ("crm", 7, None, 1)
    ]


@pytest.mark.parametrize(
    ("line", "attested", "typed", "unverified", "placeholders"),
    [
        ("1,a,13812345670,0,,,\n", 0, 1, 1, 0),  # not verified: nobody has shown that it is theirs
        ("1,a,13812345670,,,,\n", 0, 1, 1, 0),  # verification not stated
        ("1,a,13800000000,1,,,\n", 0, 0, 0, 1),  # the clerk's favourite, even "verified"
        ("1,a,,1,无,0000,\n", 0, 0, 0, 2),  # placeholders as unionid and as member number
        ("1,a,13812345670,0,,,\n1,a,13812345670,1,,,\n", 1, 0, 1, 0),  # two rows of one customer: verified in one
    ],
)
def test_what_is_vouched_for(tmp_path, line, attested, typed, unverified, placeholders):
    found, claims = identifiers_of(tmp_path, line)
    vouched = claims["attested"].to_list()
    assert (vouched.count(True), vouched.count(False)) == (attested, typed)
    assert (found.unverified_phones, found.placeholders.total()) == (unverified, placeholders)


def test_the_first_registration_of_a_file_comes_first(tmp_path):
    found = evidence_of(tmp_path, "9,a,13812345670,1,,,\n1,b,13812345671,1,,,\n9,a,,1,oA,,\n")
    order = found.claims["record_key"].unique(maintain_order=True).to_list()
    assert order == [record_key("9", KEY), record_key("1", KEY)]
    assert (found.rows, found.customers) == (3, 2)


def test_files_out_of_a_chinese_spreadsheet(tmp_path):
    assert evidence_of(tmp_path, "1,李雷,13812345670,是,,,\n", "gb18030").claims.height == 2
    assert evidence_of(tmp_path, "1,李雷,13812345670,是,,,\n", "utf-8-sig").claims.height == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [("a,b\n1,2\n", "lacks the columns customer_no"), (HEADER + ",a,13812345670,1,,,\n", "line 2 has no customer_no")],
)
def test_what_is_no_crm_file_is_said(tmp_path, content, says):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(CrmFileError, match=says):
        list(read_rows(path))


def test_the_coded_id_hides_the_customer_number():
    coded = customer_id("100234", KEY)
    assert coded.startswith("c_")
    assert "100234" not in coded
    assert coded != customer_id("100234", MasterKey({1: b"\x01" * 32}))


def test_a_file_without_a_customer_is_no_crm(tmp_path):
    """The file counts as the whole CRM: a broken export of a header alone would end every link there is."""
    with pytest.raises(CrmFileError, match="no customer"):
        evidence_of(tmp_path, "")


@pytest.mark.parametrize(
    ("in_file", "allowed"),
    [
        (range(0, 200), True),
        (range(10, 200), True),  # one in twenty
        (range(11, 200), False),  # one more: 11 are not believed
        (range(195, 900), False),  # new ones make up for nothing
    ],
)
def test_a_file_that_was_cut_short_is_refused(in_file, allowed):
    def held(numbers, *, ended=False, source="crm"):
        rows = [(f"{source}/{n}", source, 5 if ended else None) for n in numbers]
        schema = {"record_key": pl.String, "source": pl.String, "last_seen_at": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    # who left before, and what others say, does not count: neither as known nor as ending
    known = pl.concat([held(range(200)), held(range(1000, 9000), ended=True), held(range(5000), source="app")])
    told = held(in_file)
    if allowed:
        refuse_shrinking(known, told, most_share=0.05, always=3)
        return
    with pytest.raises(CrmFileShrinks, match="of the CRM's 200 customers are not in the file"):
        refuse_shrinking(known, told, most_share=0.05, always=3)


def test_a_few_may_always_leave():
    known = pl.DataFrame({"record_key": ["crm/1", "crm/2"], "source": ["crm"] * 2, "last_seen_at": [None, None]},
                         schema_overrides={"last_seen_at": pl.Int64})  # fmt: skip
    refuse_shrinking(known, known[:0], most_share=0.05, always=2)
    with pytest.raises(CrmFileShrinks):
        refuse_shrinking(known, known[:0], most_share=0.05, always=1)
