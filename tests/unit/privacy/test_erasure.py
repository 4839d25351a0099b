"""Which rows are a person's, and which only look like it."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines import contracts
from pipelines.privacy.erasure import Line, Person, certificate, columns_that_tell, concerned, person, reach, speaks_of
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

TOKENISER = Tokeniser(MasterKey({1: bytes(32)}))
PHONE = TOKENISER.token("13812345670", "phone")
OTHER = TOKENISER.token("13912345678", "phone")
PRIVATE = contracts.policy("erasure")["private_sessions"]


def interaction(**columns) -> dict:
    row = {"raw_topic": "raw.web_chat", "raw_partition": 0, "raw_offset": 1, "first_topic": None,
           "first_partition": None, "first_offset": None, "channel": "web_chat", "account": "shop", "session_id": "s1",
           "sender_role": "customer", "customer_id": "c_2", "phone_token": None, "text": None}  # fmt: skip
    return row | columns


def frame(*rows: dict) -> pl.DataFrame:
    schema = {"first_topic": pl.String, "first_partition": pl.Int32, "first_offset": pl.Int64, "phone_token": pl.String,
              "customer_id": pl.String, "text": pl.String, "session_id": pl.String}  # fmt: skip
    return pl.DataFrame(list(rows), schema_overrides=schema)


@pytest.mark.parametrize(
    ("row", "is_theirs"),
    [
        (interaction(customer_id="c_1"), True),  # linked
        (interaction(phone_token=PHONE, customer_id=None), True),  # an identifier of theirs
        (interaction(phone_token=PHONE, customer_id="p_77"), True),  # named by another identifier, linked to nobody
        (interaction(phone_token=PHONE, customer_id="c_2"), False),  # a recycled number: that row is another's
        (interaction(customer_id="p_" + PHONE[-32:][:24]), True),  # before the link: the provisional name
        (interaction(raw_offset=7), True),  # a message of theirs
        (interaction(raw_offset=8, first_topic="raw.web_chat", first_partition=0, first_offset=7), True),  # its replay
        (interaction(session_id="s9", sender_role="agent"), True),  # what was said to them
        (interaction(session_id="s9", sender_role="customer"), False),  # another customer in a session of that name
        (interaction(session_id=None, sender_role="agent"), False),
        (interaction(raw_partition=1, raw_offset=7), False),  # the offset of another partition
        (interaction(text=f"打给[phone:{PHONE}]"), False),  # somebody else mentions their number
        (interaction(phone_token=OTHER), False),
        (interaction(customer_id=None), False),
    ],
)
def test_a_row_is_theirs_by_what_identifies_them_not_by_what_mentions_them(row, is_theirs):
    who = person([PHONE], ["c_1"])
    who = Person(who.tokens, who.customer_ids, frozenset({"raw.web_chat/0/7"}), frozenset({"web_chat/shop/s9"}))
    assert concerned(frame(row), who).to_list() == [is_theirs]


def test_a_frame_without_telling_columns_concerns_nobody():
    assert concerned(pl.DataFrame({"received": [1, 2]}), person([PHONE])).to_list() == [False, False]


def test_messages_are_found_through_duplicates_and_replays_and_sessions_until_nothing_is_new():
    silver = frame(
        interaction(customer_id="c_1", raw_offset=7, session_id="s9"),
        interaction(customer_id=None, raw_offset=10, session_id="s9", sender_role="agent"),  # the answer
        interaction(customer_id="c_2", raw_offset=11, session_id="s1"),
        interaction(customer_id=None, raw_offset=30, first_topic="raw.web_chat", first_partition=0, first_offset=10),
    )
    duplicates = pl.DataFrame({
        "raw_topic": ["raw.web_chat"] * 2, "raw_partition": [0, 0], "raw_offset": [12, 13],
        "duplicate_of_topic": ["raw.web_chat"] * 2, "duplicate_of_partition": [0, 0], "duplicate_of_offset": [7, 11],
    })  # fmt: skip
    found = reach(person([PHONE], ["c_1"]), {"silver": silver, "duplicates": duplicates}, private_sessions=PRIVATE)
    # 7 is theirs, 10 was said to them, 12 repeats 7, 30 is the replay of 10; 11 and its duplicate 13 are another's.
    assert found.messages == {f"raw.web_chat/0/{offset}" for offset in (7, 10, 12, 30)}


def test_a_live_room_is_not_the_persons_session():
    room = [
        interaction(customer_id="c_1", raw_offset=7, channel="live_video", session_id="room"),
        interaction(customer_id=None, raw_offset=8, channel="live_video", session_id="room", sender_role="agent"),
    ]
    found = reach(person([PHONE], ["c_1"]), {"silver": frame(*room)}, private_sessions=PRIVATE)
    assert found.messages == {"raw.web_chat/0/7"}
    assert found.sessions == frozenset()


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ("电话138 1234 5670".encode(), True),
        ("电话138 1234 5670".encode("gbk"), True),
        (b'{"user":"oWx_7Kd"}', True),  # an identifier that is no number
        ("电话139 1234 5670".encode(), False),
        (b"138123456709", False),  # twelve digits: another number
        (b"\xff\xfe\x00", False),  # nothing readable
    ],
)
def test_kept_bytes_are_theirs_when_a_value_of_theirs_is_in_them(payload, found):
    assert speaks_of(payload, person([PHONE]), ["+8613812345670", "oWx_7Kd"], TOKENISER) is found


def test_every_table_with_customers_tells_and_the_others_do_not():
    silent = {
        name for name, table in contracts.tables().items() if not columns_that_tell([f.name for f in table.fields])
    }
    # Those of identity that name records go by the person's records: pipelines/io/mariadb_erasure.py.
    assert silent == {"audit.log", "audit.retention", "bronze.store_files", "gold.data_balance",
                      "gold.hot_questions", "gold.quality_acceptances",
                      "gold.quality_metrics", "gold.quality_results",
                      "identity.decisions", "identity.matched", "identity.match_models", "identity.revisions",
                      "identity.outbox",
                      "privacy.erasure_results", "serving.builds"}  # fmt: skip


def test_what_is_no_token_is_refused():
    with pytest.raises(ValueError, match="Not a token"):
        person(["13812345670"])


def test_a_command_brings_the_person_back_as_it_was():
    who = Person(frozenset({PHONE}), frozenset({"c_1"}), frozenset({"a/0/1"}), frozenset({"x/y/z"}))
    assert Person.of(who.selection()) == who


def test_a_certificate_counts_and_hashes_and_names_nobody():
    who = Person(frozenset({PHONE}), frozenset({"c_1"}), frozenset({"raw.sms/0/1"}))
    made = certificate("e1", who, [Line("silver.interactions", 3, 0), Line("MariaDB", 2, 0)], actor="li.na")
    assert (made["complete"], made["counts"]["messages"], made["actor"]) == (True, 1, "li.na")
    assert PHONE not in str(made)
    assert certificate("e1", who, [Line("silver.interactions", 3, 1)])["complete"] is False
