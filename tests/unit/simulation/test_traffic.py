"""Simulated traffic: the same for the same seed, of all channels, and its truth is what a reader of the bytes finds."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Reject
from pipelines.simulation.people import customer
from pipelines.simulation.traffic import CHANNELS, generate
from pipelines.simulation.truth import in_pass, truth_id

START_AT = datetime(2026, 1, 9, tzinfo=UTC)
NOW_US = 1768435200_000_000  # 2026-01-15: every contact has happened
# Rejected for what the parts say of each other, not for how a part is written: parsers let these through.
RECORDS = {"crm", "orders"}  # sent by commands of their own: nobody speaks in them
JUDGED_LATER = {"text.blank", "time.answered_before_asked"}


@pytest.fixture(scope="module")
def traffic():
    return list(generate(11, 6_000, 400, START_AT, dirty_share=0.2))


def parsed(message):
    account = dict(message.headers).get("account", b"default").decode()
    return PARSERS[message.topic.removeprefix("raw.")](message.value, account, NOW_US)


def test_the_same_arguments_give_the_same_messages(traffic):
    assert list(generate(11, 6_000, 400, START_AT, dirty_share=0.2))[:2_000] == traffic[:2_000]
    assert [m.value for m in generate(12, 50, 400, START_AT)] != [m.value for m in generate(11, 50, 400, START_AT)]


def test_exactly_as_many_as_asked_and_every_channel(traffic):
    assert len(traffic) == 6_000
    assert {message.topic for message in traffic} == {f"raw.{channel}" for channel in set(PARSERS) - RECORDS}
    assert set(CHANNELS) == set(PARSERS) - RECORDS


def test_parsers_find_what_the_truth_says(traffic):
    wrong = []
    for message in traffic:
        read, truth = parsed(message), message.truth
        if isinstance(read, Reject):
            agree = read.rule == truth.rule
        elif truth.expect == "rejected":
            agree = truth.rule in JUDGED_LATER
        else:
            agree = (read.kind, read.sender_role) == (truth.kind, truth.sender_role)
        if not agree:
            wrong.append((read, truth))
    assert wrong == []


def test_every_kind_of_dirt_is_there(traffic):
    found = {message.truth.how for message in traffic}
    assert {
        "clean", "honest.repeat", "honest.chase_up", "duplicate.retry", "duplicate.feedback", "unclear.vague",
        "unclear.praise", "blank.empty", "blank.zero_width", "blank.full_width", "blank.marks", "response.unit_ms",
        "response.negative", "response.extreme", "response.high", "score.off_scale", "invalid.cut_off", "invalid.gbk",
        "invalid.no_id", "invalid.no_time", "invalid.year_1970", "invalid.year_2099", "invalid.wrong_type",
    } <= found  # fmt: skip


def test_retries_are_the_same_bytes_and_nothing_else_is(traffic):
    copies = Counter(message.value for message in traffic)
    again = Counter(message.value for message in traffic if message.truth.how == "duplicate.retry")
    assert {value: n - 1 for value, n in copies.items() if n > 1} == again
    first_seen = set()
    for message in traffic:
        assert (message.value in first_seen) == (message.truth.copy > 0)
        first_seen.add(message.value)


def test_a_repeated_feedback_comes_after_the_one_it_repeats_under_another_id(traffic):
    groups = {}
    for message in traffic:
        if message.truth.group and message.truth.how != "duplicate.retry":
            groups.setdefault(message.truth.group, []).append(message)
    pairs = [group for group in groups.values() if len(group) == 2]
    assert len(pairs) > 10
    for first, again in pairs:
        assert (first.truth.expect, again.truth.expect) == ("kept", "duplicate")
        assert first.truth.customer_no == again.truth.customer_no
        one, other = parsed(first), parsed(again)
        assert one.source_message_id != other.source_message_id
        assert one.order_id == other.order_id
        assert 0 < other.occurred_at_us - one.occurred_at_us <= 4 * 3600 * 1_000_000


def test_one_person_writes_on_several_channels(traffic):
    channels = {}
    for message in traffic:
        channels.setdefault(message.truth.customer_no, set()).add(message.topic)
    assert sum(len(used) >= 3 for used in channels.values()) > 100


def test_linkable_means_the_crm_knows_an_identifier_in_the_message(traffic):
    people = {customer(11, number).customer_no: customer(11, number) for number in range(400)}
    for message in traffic[:1_000]:
        person, read = people[message.truth.customer_no], parsed(message)
        if isinstance(read, Reject):
            continue
        has_phone, has_unionid, has_member = person.in_crm
        known = {person.phone} if has_phone and person.phone_verified else set()
        known |= {person.unionid} if has_unionid else set()
        known |= {person.member_number} if has_member else set()
        assert message.truth.linkable == bool(known & {read.phone, read.unionid, read.member_number})


def test_personal_numbers_stand_in_the_text(traffic):
    written = [message for message in traffic if message.truth.personal and message.truth.expect == "kept"]
    assert len(written) > 30
    for message in written:
        digits = "".join(filter(str.isalnum, parsed(message).text))
        assert message.truth.personal in digits


def test_nothing_happened_before_the_start_but_tickets_and_cases(traffic):
    start_us = int(START_AT.timestamp() * 1e6)
    for message in traffic:
        read = parsed(message)
        if not isinstance(read, Reject) and message.topic not in ("raw.ticket_system", "raw.complaint_site"):
            assert read.occurred_at_us >= start_us - 60_000_000  # some forms round to the minute


def test_flat_json_is_website_chat_of_about_350_bytes():
    messages = list(generate(5, 2_000, 100, START_AT, "flat_json"))
    assert {message.topic for message in messages} == {"raw.web_chat"}
    assert 280 <= sum(len(message.value) for message in messages) / len(messages) <= 420


def test_spotless_traffic_is_kept_whole():
    assert {message.truth.expect for message in generate(5, 2_000, 100, START_AT, dirty_share=0)} == {"kept"}


@pytest.mark.parametrize("number", [1, 9_999])
def test_another_pass_has_other_ids_and_the_same_truth(traffic, number):
    for message in traffic:
        again = in_pass(message.value, number)
        assert len(again) == len(message.value)
        assert truth_id(again) == truth_id(message.value) == message.truth.truth_id
        one, other = parsed(message), parsed(message._replace(value=again))
        if not isinstance(one, Reject) and one.source_message_id is not None:
            assert one.source_message_id != other.source_message_id, message.value


def test_a_message_cut_off_inside_its_number_still_finds_its_truth():
    for cut in range(8, 30):
        payload = b'"MsgId":777700000000000012'[:cut]
        assert truth_id(in_pass(payload, 3)) == truth_id(payload)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"mix": "jazz"}, "mix"),
        ({"start_at": datetime(2026, 1, 9)}, "zone"),
        ({"channels": ["fax"]}, "fax"),
    ],
)
def test_wrong_arguments_are_named(arguments, why):
    with pytest.raises(ValueError, match=why):
        next(iter(generate(**({"seed": 1, "events": 1, "customers": 1, "start_at": START_AT} | arguments))))
