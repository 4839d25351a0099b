"""SMS reports, uplinks, sent messages and SMPP receipts."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
UPLINK = {"type": "uplink", "msg_id": "m1", "phone": "13800000001", "time": "20260109080000"}
RECEIPT = b"id:m2 sub:001 dlvrd:001 submit date:2601090759 done date:2601090800 stat:DELIVRD err:000 text:"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"content": "怎么退货"}, {"kind": "message", "sender_role": "customer", "text": "怎么退货", "score": None}),
        (
            {"content": "5", "survey_id": "s", "score_scale_max": 5},
            {"kind": "feedback", "score": 5.0, "score_scale_max": 5.0},
        ),
        (
            {"content": " ５分。", "survey_id": "s"},
            {"kind": "feedback", "score": 5.0, "text": None},
        ),  # full-width digit, word, dot
        (
            {"content": "50", "survey_id": "s", "score_scale_max": 5},
            {"score": 50.0},
        ),  # off the scale: the score rule judges
        ({"content": "5"}, {"kind": "message", "score": None}),  # no survey asked: a 5 is a 5
        ({"content": "很好", "survey_id": "s"}, {"kind": "message", "score": None}),
        ({"type": "report", "status": "DELIVRD"}, {"kind": "record", "sender_role": "system", "outcome": "DELIVRD"}),
        ({"type": "sent", "content": "已发货"}, {"kind": "message", "sender_role": "system"}),
        ({"type": "mt", "content": "已发货", "agent_id": "a1"}, {"sender_role": "agent", "agent_id": "a1"}),
    ],
)
def test_message(parse, shows, change, expected):
    shows(parse("sms", UPLINK | change), occurred_at_us=EIGHT_US, phone="13800000001", **expected)


def test_report_and_the_message_it_reports_on_are_two_messages(parse):
    sent, report = (parse("sms", UPLINK | {"type": kind}) for kind in ("sent", "report"))
    assert (sent.source_message_id, report.source_message_id) == ("sent:m1", "report:m1")


def test_smpp_receipt(parse, shows):
    shows(
        parse("sms", RECEIPT),
        kind="record",
        source_message_id="report:m2",
        occurred_at_us=EIGHT_US,  # done date, yymmddhhmm in the policy's zone
        outcome="DELIVRD",
        attributes='{"type":"report","error_code":"000","submitted":1,"delivered":1}',
    )


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (UPLINK | {"phone": None}, "field.missing"),
        (UPLINK | {"type": None}, "field.missing"),
        (UPLINK | {"type": "fax"}, "field.unknown_value"),
        (UPLINK | {"time": "20261340"}, "time.out_of_range"),  # no date, so an epoch number: a day of 1970
        (RECEIPT.replace(b"stat:", b"state:"), "payload.not_receipt"),
        (RECEIPT.replace(b"2601090800", b"2613090800"), "time.out_of_range"),  # month 13
        (b"id:\xff\xfe", "payload.bad_encoding"),
    ],
)
def test_reject(parse, payload, rule):
    assert parse("sms", payload).rule == rule
