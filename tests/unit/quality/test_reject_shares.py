"""The share of rejects by channel, worked by hand."""

from __future__ import annotations

import pytest

from pipelines import contracts
from pipelines.quality.reject_shares import reject_shares

LIMITS = {"min_messages": 100, "quiet_channels": "quiet", "max_rejected_share": 0.2, "channels": {"live_video": 0.5}}


def shares(*counted):
    return [(s.channel, s.judged, s.rejected, s.commonest_rule, s.too_many) for s in reject_shares(counted, **LIMITS)]


@pytest.mark.parametrize(
    ("topic", "kept", "rejected", "too_many"),
    [
        ("raw.app", 80, 20, False),  # 20 % is allowed
        ("raw.app", 79, 21, True),  # 21 % is not
        ("raw.live_video", 50, 50, False),  # its own limit: 50 %
        ("raw.live_video", 49, 51, True),
        ("raw.app", 0, 100, True),  # everything
    ],
)
def test_more_than_the_allowed_share_rings(topic, kept, rejected, too_many):
    [line] = shares((topic, None, kept), (topic, "text.blank", rejected))
    assert line == (topic.removeprefix("raw."), 100, rejected, "text.blank", too_many)


def test_channels_are_judged_one_by_one():
    """Over all channels 30 of 1,100 are 3 %: a sum would hide that a third of the mails is turned away."""
    found = shares(("raw.app", None, 1000), ("raw.email", None, 70), ("raw.email", "payload.bad_encoding", 30))
    assert found == [("app", 1000, 0, "", False), ("email", 100, 30, "payload.bad_encoding", True)]


def test_quiet_channels_are_judged_together():
    """60 + 50 = 110 messages, 25 of them rejected: 22.7 %. 99 messages on a channel alone would say nothing."""
    found = shares(("raw.sms", None, 45), ("raw.sms", "a.a", 15), ("raw.store", None, 40), ("raw.store", "b.b", 10))
    assert found == [("quiet", 110, 25, "a.a", True)]


def test_a_handful_of_messages_says_nothing():
    assert shares(("raw.sms", "text.blank", 60), ("raw.store", "text.blank", 39)) == []


def test_the_rule_named_is_the_one_that_rejects_most():
    """40 of cleaning.failed against 3 + 38: no other rule alone has more."""
    rules = {"text.blank": 38, "cleaning.failed": 40, "payload.not_json": 3}
    [line] = shares(("raw.app", None, 500), *(("raw.app", rule, count) for rule, count in rules.items()))
    assert line == ("app", 581, 81, "cleaning.failed", False)  # 13.9 %


def test_the_policy_names_channels_that_exist():
    alarm = contracts.policy("rejects")["alarm"]
    assert set(alarm["channels"]) <= set(contracts.field("channel").values)
    assert reject_shares([("raw.app", None, alarm["min_messages"])], **alarm)[0].share == 0
