"""Cases of third-party complaint sites."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
CASE = {"case_no": "H1", "created_at": "2026-01-09 08:00:00", "title": "退款", "content": "十五天没到账"}
MERCHANT = {"role": "merchant", "at": "2026-01-09 10:00:00", "content": "已加急"}
CUSTOMER = {"role": "customer", "at": "2026-01-09 09:00:00", "content": "还没到"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"source_revision": 0, "response_time_s": None, "replied_at_us": None, "outcome": None}),
        (
            {"replies": [CUSTOMER, MERCHANT]},
            {"source_revision": 2, "response_time_s": 7200.0},
        ),  # the customer's own is no reply
        ({"replies": [CUSTOMER]}, {"source_revision": 1, "response_time_s": None}),
        ({"replies": [MERCHANT], "response_time_s": 60}, {"response_time_s": 60.0}),  # reported beats computed
        ({"revision": 9, "replies": [MERCHANT]}, {"source_revision": 9}),
        ({"status": "已完成", "score": 1, "score_scale_max": 5}, {"outcome": "已完成", "score": 1.0}),
        ({"complainant": {"user_id": "hm1", "phone": "13800000001"}}, {"user_handle": "hm1", "phone": "13800000001"}),
        ({"phone": "13800000001"}, {"phone": "13800000001"}),  # sites that keep it flat
        (
            {"demands": ["退款", "道歉"], "amount": 299},
            {"attributes": '{"demands":["退款","道歉"],"amount_yuan":299.0}'},
        ),
        ({"demands": "退款"}, {"attributes": '{"demands":["退款"]}'}),
        (
            {"replies": [MERCHANT]},
            {"attributes": '{"replies":[{"role":"agent","at":"2026-01-09T02:00:00Z","text":"已加急"}]}'},
        ),
    ],
)
def test_case(parse, shows, change, expected):
    shows(
        parse("complaint_site", CASE | change),
        kind="complaint",
        occurred_at_us=EIGHT_US,
        asked_at_us=EIGHT_US,
        **expected,
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"case_no": None}, "field.missing"),
        ({"created_at": "1970-01-01"}, "time.out_of_range"),
        ({"replies": [1]}, "field.wrong_type"),
        ({"replies": [{"content": "?"}]}, "field.missing"),  # who replied?
        ({"demands": [1]}, "field.wrong_type"),
        ({"amount": "299元"}, "field.wrong_type"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("complaint_site", CASE | change).rule == rule
