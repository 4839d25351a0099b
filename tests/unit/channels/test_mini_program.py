"""Mini program: the number that the platform verified, beside the log-in it belongs to."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
TOLD = {"phoneNumber": "13812345671", "purePhoneNumber": "13812345671", "countryCode": "86",
        "watermark": {"timestamp": 1767916800, "appid": "wx1"}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "phone"),
    [
        ({}, "13812345671"),
        ({"purePhoneNumber": None}, "13812345671"),  # older clients tell one of the two
        # abroad the country's code stands apart, and a number without it would be read as Chinese
        ({"phoneNumber": "16502530000", "purePhoneNumber": "6502530000", "countryCode": "1"}, "+16502530000"),
    ],
)
def test_a_verified_number(parse, shows, change, phone):
    told = {"openid": "oM1", "unionid": "oU1", "phone_info": TOLD | change}
    wanted = {"phone": phone, "openid": "oM1", "unionid": "oU1", "occurred_at_us": EIGHT_US}
    shows(parse("mini_program", told), kind="record", sender_role="customer", outcome="phone_verified", **wanted)


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        ({"phone_info": TOLD}, "field.missing"),  # a number of nobody
        ({"openid": "oM1", "phone_info": {"watermark": TOLD["watermark"]}}, "field.missing"),  # nobody's number
        ({"openid": "oM1", "phone_info": TOLD | {"watermark": {}}}, "field.missing"),
        ({"openid": "oM1", "phone_info": "13812345671"}, "field.wrong_type"),
    ],
)
def test_what_cannot_be_placed_is_refused(parse, told, rule):
    assert parse("mini_program", told).rule == rule
